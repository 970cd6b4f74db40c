"""What was promoted and what that wrote, in ``notebooks/promoted.json``, so that it can be taken out again."""

import json
from typing import Any

from tasks.errors import ConfigError, InputError
from tasks.ideas.edits import Changes, digest

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
    files = {path: digest(changes.text(path) or "") for path in changes.created}
    insertions = [{"path": path, "text": text} for path, text in changes.inserted]
    found = read_records(changes)
    if name in found:
        raise ConfigError(
            f"{name!r} was promoted already, as a {found[name]['kind']} from {found[name]['from']}; name another with "
            f"AS=, or take that out first (make demote NAME={name})"
        )
    found[name] = {"kind": kind, "from": source, "files": files, "insertions": insertions}
    _write(changes, found)


def take_out(changes: Changes, name: str, *, force: bool) -> str:
    """Prepare the removal of what a promotion wrote, and return its kind.

    Raises
    ------
    InputError
        If nothing of that name was promoted, or what was written has been changed by hand since and `force` is
        not set: each such file is named.
    """
    found = read_records(changes)
    if name not in found:
        known = f"promoted are: {', '.join(found)}" if found else "nothing is promoted here"
        raise InputError(f"{name!r} was not promoted; {known}")
    record = found.pop(name)
    changed = [
        path
        for path, written in record["files"].items()
        if (text := changes.text(path)) is not None and digest(text) != written
    ]
    changed += [
        one["path"]
        for one in record["insertions"]
        if (changes.text(one["path"]) or "").count(one["text"]) != 1
    ]
    if changed and not force:
        raise InputError(
            f"changed by hand since {name} was promoted: {', '.join(dict.fromkeys(changed))}; keep a copy of what you need, "
            "and run again with FORCE=1, which leaves changed lines where they are"
        )
    for path in record["files"]:
        if changes.text(path) is not None:
            changes.put(path, None)
    for one in record["insertions"]:
        text = changes.text(one["path"]) or ""
        if text.count(one["text"]) == 1:
            changes.put(one["path"], text.replace(one["text"], ""))
    _write(changes, found)
    return str(record["kind"])


def _write(changes: Changes, found: dict[str, Any]) -> None:
    changes.put(RECORDS, f"{json.dumps(found, indent=1, sort_keys=True)}\n" if found else None)
