"""A YAML file read as a mapping that knows the line of each key, so that an error can point at it."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tasks.errors import ConfigError

KeyPath = tuple[str | int, ...]
_MERGE, _MAX_PLACES = "tag:yaml.org,2002:merge", 100_000


@dataclass(frozen=True)
class YamlMapping:
    """The content of a YAML file, and where it stands.

    Attributes
    ----------
    values
        What the file says, as plain data.
    places
        ``file:line`` of each key and list item, by its path: ``("hash", "bits")``.
    source
        The file.
    """

    values: dict[str, Any]
    places: dict[KeyPath, str] = field(default_factory=dict)
    source: str = ""

    def place(self, path: KeyPath) -> str:
        """Return ``file:line`` of a key, or of the nearest one around it that is there."""
        for depth in range(len(path), 0, -1):
            if path[:depth] in self.places:
                return self.places[path[:depth]]
        return f"{self.source}:1"


def read_mapping(path: str | Path, *, holds: str) -> YamlMapping:
    """Return the mapping in a YAML file.

    Parameters
    ----------
    path
        The file, UTF-8.
    holds
        What the file should hold, for the message: "a mapping of knobs".

    Raises
    ------
    ConfigError
        In one line with file and line number: the file cannot be read, is not UTF-8, not YAML, not a
        mapping, or has a key twice or one that is not text.
    """
    text = _read_text(Path(path))
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{path}: expected {holds}, found {_kind(node)}")
        places = dict(_places(node, (), str(path), ()))
        values = loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ConfigError(_described(error, str(path), text)) from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply to be read") from None
    return YamlMapping(values, places, str(path))


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder, expected a YAML file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        found = f"byte 0x{error.object[error.start]:02x}"
        raise ConfigError(f"{path}:{line}: not UTF-8 ({found}); save the file as UTF-8") from None


def _kind(node: yaml.Node | None) -> str:
    if node is None or node.tag == "tag:yaml.org,2002:null":
        return "nothing"
    return "a list" if isinstance(node, yaml.SequenceNode) else f"only {node.value!r}"


def _places(
    node: yaml.Node, path: KeyPath, source: str, inside: tuple[yaml.Node, ...]
) -> Iterator[tuple[KeyPath, str]]:
    """Yield the place of each key and item at or below a node; refuse what YAML lets pass silently."""
    if node in inside:
        raise ConfigError(f"{source}:{_line(node)}: {dotted(path)} refers to itself")
    inside = (*inside, node)
    n_places = 0
    for key, child, place in _children(node, path, source):
        yield (*path, key), place
        for found in _places(child, (*path, key), source, inside):
            n_places += 1
            if n_places > _MAX_PLACES:
                raise ConfigError(f"{place}: too many values behind aliases to be read")
            yield found


def _children(
    node: yaml.Node, path: KeyPath, source: str
) -> Iterator[tuple[str | int, yaml.Node, str]]:
    """Yield key, value and place of what a node holds; merged keys (``<<``) before its own."""
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield number, item, f"{source}:{_line(item)}"
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[Hashable, int] = {}
    for key, value in node.value:
        if key.tag == _MERGE:
            merged = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for other in reversed(merged):
                yield from _children(other, path, source)
    for key, value in node.value:
        if key.tag == _MERGE:
            continue
        name, line = _key(key, source), _line(key)
        if name in lines:
            raise ConfigError(
                f"{source}:{line}: `{dotted((*path, name))}` is there twice, first in line {lines[name]}; keep one"
            )
        lines[name] = line
        yield name, value, f"{source}:{line}"


def _key(node: yaml.Node, source: str) -> str | int:
    kind = node.tag.rpartition(":")[2]
    if not isinstance(node, yaml.ScalarNode) or kind not in ("str", "int"):
        written = node.value if isinstance(node, yaml.ScalarNode) else "a list or mapping"
        raise ConfigError(
            f"{source}:{_line(node)}: the key {written} is not text to YAML ({kind}); put it in quotes"
        )
    return node.value if kind == "str" else yaml.safe_load(node.value)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def dotted(path: KeyPath) -> str:
    """Return a path as people write it.

    Examples
    --------
    >>> dotted(("gates", "calibration_ratio", 1))
    'gates.calibration_ratio[1]'
    """
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return text.removeprefix(".")


def _described(error: yaml.YAMLError, source: str, text: str) -> str:
    """Return what the parser found, in one line with its place."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text[: error.position].count("\n") + 1
        return f"{source}:{line}: a character that YAML does not allow (U+{error.character:04X}); delete it"
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return f"{source}: not valid YAML: {' '.join(str(error).split())}"
    problem = str(getattr(error, "problem", None) or getattr(error, "context", ""))
    lines = text.splitlines() or [""]
    shown = lines[min(mark.line, len(lines) - 1)]
    if "\t" in shown[: len(shown) - len(shown.lstrip())] or "'\\t'" in problem:
        return f"{source}:{mark.line + 1}: not valid YAML: a tab; indent with spaces"
    begun = getattr(error, "context_mark", None)
    since = f" (what begins in line {begun.line + 1})" if begun and begun.line != mark.line else ""
    return f"{source}:{mark.line + 1}: not valid YAML: {problem}{since}"
