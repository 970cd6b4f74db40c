"""What is declared about a knob, in words: for the messages of :mod:`tasks.knobs.reading` and for docs/knobs.md."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Tag
from pydantic.fields import FieldInfo

from tasks.knobs.declaration import Knobs
from tasks.storage.yaml_mapping import dotted

_TYPES = {int: "an integer", float: "a number", str: "text", bool: "true or false"}


@dataclass(frozen=True)
class Declared:
    """A knob: its path in the file, what may stand there, what it is for, and the section it belongs to."""

    path: tuple[str | int, ...]
    domain: str
    about: str
    owner: Any


def declared(loc: Sequence[str | int]) -> Declared:
    """Return what is declared at a place as pydantic names it.

    Where there are alternatives, such as the methods of a search, pydantic's path also names the one that was
    taken; the file's does not.
    """
    path: list[str | int] = []
    owner: Any = None
    annotation: Any = Knobs
    field: FieldInfo | None = None
    for key in loc:
        options = _alternatives(annotation)
        if key in options:
            annotation, field = options[key], None
        elif key != "[key]":
            path.append(key)
            owner = annotation
            annotation, field = _inside(annotation, key)
        else:
            annotation, field = get_args(_bare(owner))[0], None
    about = (field.description if field else None) or _first_line(annotation)
    return Declared(tuple(path), domain(annotation, field), about, owner)


def keys_of(section: Any) -> list[str]:
    """Return the keys that a section knows, in the order of their declaration."""
    section = _bare(section)
    if not (isinstance(section, type) and issubclass(section, BaseModel)):
        return []
    return [field.alias or name for name, field in section.model_fields.items()]


def all_knobs(section: Any = Knobs, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the dotted name of every knob with a fixed name, sections included."""
    for key in keys_of(section):
        yield dotted((*path, key))
        yield from all_knobs(_inside(section, key)[0], (*path, key))


def domain(annotation: Any, field: FieldInfo | None = None) -> str:
    """Return what may stand for a value of this type, in words."""
    limits = _limits([*_metadata(annotation), *(field.metadata if field else ())])
    kind = _bare(annotation)
    if options := _alternatives(kind):
        names = [_first_word(name, one) for name, one in options.items()]
        return " or ".join(dict.fromkeys(names))
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    if get_origin(kind) is list:
        if "max_length" in limits:
            return "[low, high], two numbers"
        least = limits.get("min_length", 1)
        if least == 0:
            return "a list"
        return "a list that is not empty" if least == 1 else f"a list of {least} or more"
    if kind in _TYPES:
        may_be_null = field is not None and field.is_required() and kind is not annotation
        return _TYPES[kind] + _bounds(limits) + (" or null" if may_be_null else "")
    return "a mapping that is not empty" if "min_length" in limits else "a mapping"


def _limits(metadata: list[Any]) -> dict[str, Any]:
    names = ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern")
    found = {(name, getattr(one, name, None)) for one in metadata for name in names}
    return {name: value for name, value in found if value is not None}


def _bounds(limits: dict[str, Any]) -> str:
    if "pattern" in limits:
        return f" that matches {limits['pattern'].strip('^$')}"
    if "max_length" in limits:
        return f" of 1 to {limits['max_length']} characters"
    if "min_length" in limits:
        return " that is not empty"
    if {"ge", "le"} <= set(limits):
        return f" from {limits['ge']} to {limits['le']}"
    words = {"ge": "of at least", "gt": "above", "le": "at most", "lt": "below"}
    found = [f"{word} {limits[name]}" for name, word in words.items() if name in limits]
    return f" {' and '.join(found)}" if found else ""


# ---- pydantic's and Python's ways to write a type


def _bare(annotation: Any) -> Any:
    """Return a type without its metadata, and without None where it may be left out."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if _is_union(annotation):
        others = [one for one in get_args(annotation) if one is not type(None)]
        if len(others) == 1:
            return _bare(others[0])
    return annotation


def _metadata(annotation: Any) -> list[Any]:
    if _is_union(annotation):
        others = [one for one in get_args(annotation) if one is not type(None)]
        return _metadata(others[0]) if len(others) == 1 else []
    if get_origin(annotation) is not Annotated:
        return []
    first, *found = get_args(annotation)
    flat = [x for one in found for x in (one.metadata if isinstance(one, FieldInfo) else [one])]
    return [*_metadata(first), *flat]


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) is Union or type(annotation).__name__ == "UnionType"


def _alternatives(annotation: Any) -> dict[Any, Any]:
    """Return the types that one of is taken, by the name that pydantic gives them in its paths."""
    annotation = _bare(annotation)
    found: dict[Any, Any] = {}
    for one in get_args(annotation) if _is_union(annotation) else ():
        tags = [x.tag for x in get_args(one)[1:] if isinstance(x, Tag)]
        method = getattr(_bare(one), "model_fields", {}).get("method")
        names = tags or (get_args(method.annotation) if method else ())
        found |= dict.fromkeys(names, one)
    return found


def _inside(annotation: Any, key: Any) -> tuple[Any, FieldInfo | None]:
    """Return the type of what a key holds, and its declaration if the key is a field."""
    kind = _bare(annotation)
    if get_origin(kind) in (dict, list):
        return get_args(kind)[-1], None
    for name, field in getattr(kind, "model_fields", {}).items():
        if key == (field.alias or name):
            return field.annotation, field
    return Any, None


def _first_line(annotation: Any) -> str:
    kind = _bare(annotation)
    is_section = isinstance(kind, type) and issubclass(kind, BaseModel)
    return str(kind.__doc__).split("\n")[0].rstrip(".") if is_section else ""


def _first_word(name: str, option: Any) -> str:
    kind = _bare(option)
    if get_origin(kind) in (Literal, list):
        return domain(option)
    method = getattr(kind, "model_fields", {}).get("method")
    return f"{{method: {name}, ...}}" if method else f"{{{', '.join(keys_of(kind))}}}"


# ---- the page


def page() -> str:
    """Return docs/knobs.md: every knob with its domain and what it is for."""
    rows = [_row(declared(tuple(name.split("."))), name) for name in all_knobs()]
    block = Knobs.model_fields["models"].annotation
    blocks = _alternatives(_inside(block, "")[0])
    of_models, of_blends = (
        list(_rows_below(blocks[name], "models.NAME", ("models", "", name)))
        for name in ("model", "blend")
    )
    searches = _alternatives(_inside(blocks["model"], "search")[0])
    head = ["| knob | may be | what it is for |", "| --- | --- | --- |"]
    text = [
        "# Every knob",
        "",
        "Written by `clicklab knobs` from `tasks/knobs/declaration.py`; the values are in `env.yaml`. A file of",
        "differences (`make run ENV=env.tiny.yaml`) and options (`ploomber build --env--hash--bits 16`) are laid over it. An",
        "unknown, missing or mistyped knob is refused before anything starts, with file and line.",
        "",
        *head,
        *rows,
        "",
        "A model, below `models`:",
        "",
        *head,
        *of_models,
        "",
        f"{_first_line(blocks['blend'])}, below `models` (a blend):",
        "",
        *head,
        *of_blends,
    ]
    for method, section in searches.items():
        path = ("models", "", "model", "search", method)
        text += ["", f"`search: {{method: {method}, ...}}`: {_first_line(section)}.", "", *head]
        text += _rows_below(section, "search", path)
    return "\n".join(text) + "\n"


def _rows_below(section: Any, name: str, path: tuple[str, ...]) -> Iterator[str]:
    for key in keys_of(section):
        yield _row(declared((*path, key)), f"{name}.{key}")


def _row(knob: Declared, name: str) -> str:
    first = knob.about[:1] if knob.about[1:2].isupper() else knob.about[:1].lower()
    return f"| `{name}` | {knob.domain} | {first}{knob.about[1:]} |"
