"""What was promoted and what that wrote, in ``notebooks/promoted.json``, so that it can be taken out again."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tasks.errors import ConfigError, InputError
from tasks.ideas.edits import Changes
from tasks.ideas.removal import refuse_imported, refuse_named, refuse_used, without
from tasks.pipeline.lineage_record import text_digest

RECORDS = "notebooks/promoted.json"


def read_records(changes: Changes) -> dict[str, Any]:
    """Return what was promoted, by name."""
    text = changes.text(RECORDS)
    try:
        return dict(json.loads(text)) if text else {}
    except ValueError:
        raise InputError(f"{RECORDS}: is no JSON; restore it (git checkout {RECORDS})") from None


def add_record(changes: Changes, name: str, kind: str, source: str) -> None:
    """Record a promotion whose changes are complete; ConfigError if something of that name was promoted before."""
    found = read_records(changes)
    if name in found:
        raise ConfigError(
            f"{name!r} was promoted already, as a {found[name]['kind']} from {found[name]['from']}; name another with "
            f"AS=, or take that out first (make demote NAME={name})"
        )
    edited = {one["path"] for one in changes.inserted}
    replaced = {
        path: {"digest": text_digest(changes.text(path) or ""), "before": _without_outputs(text)}
        for path, text in changes.before.items()
        if text is not None and path not in edited and path.endswith(".ipynb")
    }
    found[name] = {
        "kind": kind,
        "from": source,
        "files": {path: text_digest(changes.text(path) or "") for path in changes.created},
        "insertions": changes.inserted,
        **({"replaced": replaced} if replaced else {}),
    }
    _write(changes, found)


def _without_outputs(text: str) -> str:
    """Return a notebook as it may be committed, which the records are: without outputs; unchanged if it has none."""
    content = json.loads(text)
    for cell in content["cells"]:
        if cell.get("outputs"):
            cell |= {"outputs": [], "execution_count": None}
    same = content == json.loads(text)
    return text if same else f"{json.dumps(content, indent=1, ensure_ascii=False)}\n"


def take_out(changes: Changes, name: str, *, force: bool) -> tuple[str, list[str]]:
    """Prepare the removal of what a promotion wrote; return its kind, and what `force` leaves because it was changed.

    Raises
    ------
    InputError
        If nothing of that name was promoted; if what was written has been changed by hand since and `force` is not
        set: each such file is named; or if what stays uses it.
    """
    found = read_records(changes)
    if name not in found:
        known = f"promoted are: {', '.join(found)}" if found else "nothing is promoted here"
        raise InputError(f"{name!r} was not promoted; {known}")
    record = found.pop(name)
    changed = [
        path
        for path, written in record["files"].items()
        if (text := changes.text(path)) is not None and text_digest(text) != written
    ]
    for path in record["files"]:
        if changes.text(path) is not None:
            changes.put(path, None)
    left = [*_put_back(changes, record.get("replaced", {})), *_cut(changes, record["insertions"])]
    refuse_imported(changes.root, record["files"])
    if not left:
        refuse_named(changes, record["files"])
    if (changed or left) and not force:
        paths = dict.fromkeys([*changed, *(path for path, _ in left)])
        raise InputError(
            f"changed by hand since {name} was promoted: {', '.join(paths)}; keep a copy of what you need, "
            "and run again with FORCE=1, which leaves changed lines where they are"
        )
    _write(changes, found)
    return str(record["kind"]), [f"{path}: {what}" for path, what in left]


def _put_back(changes: Changes, replaced: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give files that a promotion wrote anew their text from before; yield those that were changed since."""
    for path, one in replaced.items():
        text = changes.text(path)
        if text is not None and text_digest(text) == one["digest"]:
            changes.put(path, one["before"])
        elif text is not None:
            yield path, "the whole file"


def _cut(changes: Changes, insertions: list[dict[str, str]]) -> Iterator[tuple[str, str]]:
    """Take out what was inserted; yield what is not there as it was written."""
    for one in insertions:
        before = changes.text(one["path"]) or ""
        text = without(before, one)
        refuse_used(one, before)
        if text is None:
            yield one["path"], " ".join(one.get("name", one["text"]).split())[:100]
        else:
            changes.put(one["path"], text)


def _write(changes: Changes, found: dict[str, Any]) -> None:
    changes.put(RECORDS, f"{json.dumps(found, indent=1, sort_keys=True)}\n" if found else None)
