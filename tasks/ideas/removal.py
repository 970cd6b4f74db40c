"""What was inserted into a file, found again and taken out, though other parts of that file have changed since."""

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

import yaml

from tasks.errors import InputError
from tasks.ideas.edits import Changes, value_of
from tasks.pipeline.code_behind import imported_names

_KNOBS = "env.yaml"


def without(text: str, insertion: Mapping[str, str]) -> str | None:
    """Return a text without what was inserted, None if that is not there once as it was written.

    Parameters
    ----------
    text
        The file as it is now.
    insertion
        As :attr:`tasks.ideas.edits.Changes.inserted` holds it.
    """
    added, begin = insertion["text"], insertion.get("line")
    if "list" in insertion:
        begun = rf"^{re.escape(added)}" if added.startswith(f"{insertion['list']}:") else r"(?!)"
        found, n_found = re.subn(begun, "", text, count=1, flags=re.M)  # no other name joined it
        return found if n_found else without_name(text, insertion["list"], insertion["name"])
    if begin is None:
        return text.replace(added, "") if text.count(added) == 1 else None
    lines = text.splitlines(keepends=True)
    own = [at for at, line in enumerate(lines) if line.startswith(begin) and line.count(added) == 1]
    if len(own) != 1:
        return None
    lines[own[0]] = lines[own[0]].replace(added, "")
    return "".join(lines)


def without_name(text: str, key: str, name: str) -> str | None:
    r"""Return a text of YAML without a name in its list below `key`, None if the list does not hold it once.

    Examples
    --------
    >>> without_name("features: [night2, night]\n", "features", "night")
    'features: [night2]\n'
    """
    try:
        names, old = value_of(text, key), yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    if not isinstance(names, yaml.SequenceNode) or old[key].count(name) != 1:
        return None
    at = old[key].index(name)
    first, last = _span(text, names, at)
    found = text[:first] + ("[]" if len(names.value) == 1 else "") + text[last:]
    with suppress(yaml.YAMLError):
        if yaml.safe_load(found) == {**old, key: [one for one in old[key] if one != name]}:
            return found
    return None


def _span(text: str, names: yaml.SequenceNode, at: int) -> tuple[int, int]:
    """Return where item `at` of a list begins and ends, with the comma or the line that is its own; all of a list of one."""
    node = names.value[at]
    if len(names.value) == 1:
        return names.start_mark.index, (names if names.flow_style else node).end_mark.index
    if names.flow_style and at:
        return names.value[at - 1].end_mark.index, node.end_mark.index
    if names.flow_style:
        return node.start_mark.index, names.value[1].start_mark.index
    line_end = text.find("\n", node.end_mark.index)
    begin = text.rfind("\n", 0, node.start_mark.index) + 1
    return begin, len(text) if line_end < 0 else line_end + 1


def refuse_used(insertion: Mapping[str, str], text: str) -> None:
    """Raise InputError if a feature leaves a schema whose crosses or slices name it: no run could begin."""
    if "list" not in insertion:
        return
    name, declared = insertion["name"], yaml.safe_load(text) or {}
    used = {
        "crosses": [part for cross in declared.get("crosses") or [] for part in cross],
        "slices": [one.get("field") for one in declared.get("slices") or []],
    }
    for key, names in used.items():
        if any(str(one).split(".")[0] == name for one in names):
            raise InputError(
                f"{insertion['path']}: {key} name {name}, which would not be there; take it out of them first"
            )


def refuse_imported(root: Path, paths: Collection[str]) -> None:
    """Raise InputError if what stays imports a module that is removed: library, service, or a notebook of the pipeline."""
    gone = {path.removesuffix(".py").replace("/", "."): path for path in paths}
    staying = [*(root / "tasks").rglob("*.py"), *(root / "bentos").rglob("*.py")]
    for path in sorted([*staying, *(root / "notebooks").glob("*.ipynb")]):
        name = path.relative_to(root).as_posix()
        if name in paths or not any(Path(one).stem in path.read_text() for one in paths):
            continue
        if used := gone.keys() & {*imported_names(path)}:
            raise InputError(
                f"{name} imports {min(used)}, which would not be there; change that first"
            )


def refuse_named(changes: Changes, paths: Collection[str]) -> None:
    """Raise InputError if another model has a class of a module that is removed as its kind."""
    declared = yaml.safe_load(changes.text(_KNOBS) or "") or {}
    for name, block in (declared.get("models") or {}).items():
        kind = block.get("kind") if isinstance(block, Mapping) else None
        module = str(kind).partition(":")[0]
        if f"{module.replace('.', '/')}.py" in paths:
            raise InputError(
                f"{_KNOBS}: models.{name} is of {module}, which would not be there; take it out first"
            )
