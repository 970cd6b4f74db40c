"""Changes of the project's files: prepared in memory, shown as a diff, written all or none, and taken back.

YAML is edited as text, a line or a few at a place that the parser found, and parsed again to see that nothing else
changed: writing it anew, even with a library that keeps comments, would join and align lines that nobody touched.
"""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from tasks.errors import ConfigError
from tasks.storage.files import write_atomic

_WORDS = {
    "yes",
    "no",
    "on",
    "off",
    "y",
    "n",
    "true",
    "false",
    "null",
}  # what YAML reads as something else than text


class Changes:
    """Files as they are and as they would be.

    Parameters
    ----------
    root
        The project.

    Attributes
    ----------
    inserted
        Each insertion into a file that was there before: its ``path`` and ``text``, and what finds it again where that
        text may occur more than once: ``list`` and ``name``, or how its ``line`` begins.
    created
        Paths of new files.
    """

    def __init__(self, root: Path):
        self.root = root
        self._before: dict[str, str | None] = {}
        self._after: dict[str, str | None] = {}
        self.inserted: list[dict[str, str]] = []

    @property
    def created(self) -> list[str]:
        """The paths of new files."""
        return [path for path, before in self._before.items() if before is None]

    @property
    def before(self) -> dict[str, str | None]:
        """The files as they are, None for new ones."""
        return dict(self._before)

    @property
    def paths(self) -> list[str]:
        """The paths of all files that would change."""
        return list(self._after)

    def text(self, path: str) -> str | None:
        """Return a file as it would be, None if it is not there."""
        if path not in self._after:
            place = self.root / path
            return place.read_text(encoding="utf-8") if place.is_file() else None
        return self._after[path]

    def put(self, path: str, text: str | None) -> None:
        """Give a file this content, or remove it if None; ConfigError for a file outside the project."""
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise ConfigError(
                f"{path} would be changed, and only files of the project are; copy it into the project and name that "
                "by its path from there (a schema: `schema` of env.yaml)"
            )
        if path not in self._before:
            self._before[path] = self.text(path)
        self._after[path] = text

    def insert(self, path: str, text: str, at: int, **found_by: str) -> None:
        """Insert text into a file at an offset, and remember what finds it again."""
        whole = self.text(path) or ""
        self.put(path, whole[:at] + text + whole[at:])
        self.inserted.append({"path": path, "text": text, **found_by})

    def diff(self, *, without: str = "") -> str:
        """Return the changes as ``git diff`` shows them, notebooks by cell; one file can be left out."""
        lines: list[str] = []
        for path, after in self._after.items():
            if path == without:
                continue
            before = self._before[path]
            names = (
                f"a/{path}" if before is not None else "/dev/null",
                f"b/{path}" if after is not None else "/dev/null",
            )
            texts = _shown(path, before), _shown(path, after)
            lines += difflib.unified_diff(*texts, *names, lineterm="")
        return "\n".join(lines)

    def write(self, root: Path | None = None) -> None:
        """Write all files, or none: after a failure every file is as it was.

        Raises
        ------
        ConfigError
            If a file was changed since it was read.
        """
        target = root or self.root
        done: list[str] = []
        for path, before in self._before.items():
            place = target / path
            if (place.read_text(encoding="utf-8") if place.is_file() else None) != before:
                raise ConfigError(
                    f"{path} was changed meanwhile; nothing was written, run the same command again"
                )
        try:
            for path, after in self._after.items():
                done.append(path)
                _put(target / path, after)
        except BaseException:
            for path in done:
                with suppress(OSError):
                    _put(target / path, self._before[path])
            raise


def _shown(path: str, text: str | None) -> list[str]:
    """Return a file's lines as a person reads them: of a notebook the cells, each below a line with its tags."""
    if text is None or not path.endswith(".ipynb"):
        return (text or "").splitlines()
    lines: list[str] = []
    for cell in json.loads(text)["cells"]:
        kind = "" if cell["cell_type"] == "code" else f" [{cell['cell_type']}]"
        tags = "".join(f" {tag}" for tag in cell["metadata"].get("tags", []))
        lines += [f"# %%{kind}{tags}", *"".join(cell["source"]).splitlines(), ""]
    return lines


def _put(place: Path, text: str | None) -> None:
    if text is None:
        place.unlink(missing_ok=True)
    else:
        write_atomic(place, text)


# ---- YAML


def insert_item(
    changes: Changes, path: str, key: str, lines: str, *, after: int, item: Any
) -> None:
    """Insert an item into a list of mappings, a block below `key`, behind its item number `after`.

    Parameters
    ----------
    lines
        The item as text, with its dash and a line break at the end.
    item
        What it is once parsed, to check; mappings are compared as far as they are given here.
    """
    text = changes.text(path) or ""
    sequence = value_of(text, key)
    if not isinstance(sequence, yaml.SequenceNode) or sequence.flow_style:
        raise ConfigError(f"{path}: `{key}` is no list with an item a line; add to it:\n{lines}")
    at = _end_of(text, sequence.value[after], sequence.value[after + 1 :])
    _insert_checked(
        changes, path, f"\n{lines}" if not text[:at].endswith("\n\n") else lines, at, key, item
    )


def insert_key(changes: Changes, path: str, key: str, name: str, lines: str, value: Any) -> None:
    """Insert a key with its value as the last of the mapping below `key`; `lines` is not indented yet."""
    text = changes.text(path) or ""
    mapping = value_of(text, key)
    if not isinstance(mapping, yaml.MappingNode) or mapping.flow_style or not mapping.value:
        raise ConfigError(f"{path}: `{key}` is no mapping with a key a line; add to it:\n{lines}")
    indent = " " * mapping.value[0][0].start_mark.column
    at = _end_of(text, mapping.value[-1][1], [])
    indented = "".join(f"{indent}{line}\n" for line in lines.splitlines())
    _insert_checked(changes, path, indented, at, key, {name: value})


def insert_name(
    changes: Changes, path: str, key: str, name: str, *, behind: Sequence[str] = ()
) -> None:
    """Add a name to the list of names below `key`; without that list, begin it behind the first of `behind` there is."""
    text = changes.text(path) or ""
    names = value_of(text, key)
    if isinstance(names, yaml.SequenceNode) and names.flow_style:
        last = names.value[-1].end_mark.index if names.value else names.start_mark.index + 1
        _insert_checked(changes, path, f", {name}" if names.value else name, last, key, name)
    elif isinstance(names, yaml.SequenceNode):
        indent = " " * names.start_mark.column
        _insert_checked(
            changes, path, f"{indent}- {name}\n", _end_of(text, names.value[-1], []), key, name
        )
    elif isinstance(names, yaml.ScalarNode) and not names.value:
        _insert_checked(changes, path, f" [{name}]", names.start_mark.index, key, name)
    elif names is None:
        place = next((found for one in behind if (found := value_of(text, one))), None)
        at = _end_of(text, place, []) if place else len(text)
        _insert_checked(changes, path, f"{key}: [{name}]\n", at, key, name)
    else:
        raise ConfigError(f"{path}: `{key}` is no list of names; add {name} to it")


def value_of(text: str, key: str) -> yaml.Node | None:
    """Return the node below a key of the file."""
    node = yaml.compose(text, yaml.SafeLoader)
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value for name, value in pairs if name.value == key), None)


def _end_of(text: str, node: yaml.Node, later: Sequence[yaml.Node]) -> int:
    """Return the offset of the line behind a node; comments before the next one belong to that."""
    lines = text.splitlines(keepends=True)
    stop = later[0].start_mark.line if later else node.end_mark.line + (node.end_mark.column > 0)
    last = max(min(stop, len(lines)), node.start_mark.line + 1)
    while last > node.start_mark.line + 1 and lines[last - 1].lstrip()[:1] in ("", "#", "\n"):
        last -= 1
    return sum(map(len, lines[:last]))


def _insert_checked(changes: Changes, path: str, text: str, at: int, key: str, added: Any) -> None:
    """Insert, and see that the file says what it said and the addition, no more."""
    before = changes.text(path) or ""
    try:
        old, new = yaml.safe_load(before), yaml.safe_load(before[:at] + text + before[at:])
        there, now = old.get(key) or [], new.get(key)
        rest = {name: value for name, value in new.items() if name != key} == {
            name: value for name, value in old.items() if name != key
        }
        fits = rest and _is_addition(there, now, added)
    except (yaml.YAMLError, AttributeError):
        fits = False
    if not fits:
        raise ConfigError(
            f"{path}: `{key}` is not written as this command expects; add by hand:\n{text.strip()}"
        )
    found_by = {"list": key, "name": added} if isinstance(added, str) else {}
    changes.insert(path, text, at, **found_by)


def _is_addition(there: Any, now: Any, added: Any) -> bool:
    if isinstance(now, list):
        more = [one for one in now if one not in there]
        kept = [one for one in now if one in there] == there
        if isinstance(added, Mapping):
            return kept and len(more) == 1 and {**more[0], **added} == more[0]
        return kept and more == [added]
    return (
        isinstance(now, dict)
        and now == {**(there or {}), **added}
        and list(now)[: len(there)] == list(there)
    )


def flow(value: Any) -> str:
    """Return a value as YAML on one line.

    Examples
    --------
    >>> flow({"a": [1e-6, "x", "no", None], "b: c": 1})
    '{a: [1.0e-06, x, "no", null], "b: c": 1}'
    """
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{flow(key)}: {flow(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    if (
        isinstance(value, str)
        and re.fullmatch(r"[A-Za-z_][\w-]*", value)
        and value.lower() not in _WORDS
    ):
        return value
    if isinstance(value, float):
        text = repr(value)  # YAML 1.1 reads 1e-06 as text
        return text if "e" not in text or "." in text else text.replace("e", ".0e")
    return json.dumps(value, ensure_ascii=False)
