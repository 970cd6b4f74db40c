"""The source of a feature: a digest of all that decides its value, and what it must not do."""

import ast
import hashlib
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from tasks.features.kinds.scopes import Scope, changed_outside, nodes_in_scope

_MACHINERY = ("tasks", "tasks.features", "tasks.errors", "tasks.features.kinds")
# of the standard library: what computes from its arguments alone
MAY_IMPORT = frozenset(
    [
        "__future__",
        "base64",
        "binascii",
        "bisect",
        "calendar",
        "collections",
        "dataclasses",
        "datetime",
        "decimal",
        "enum",
        "fractions",
        "functools",
        "hashlib",
        "html",
        "ipaddress",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
        "statistics",
        "string",
        "typing",
        "unicodedata",
        "urllib.parse",
        "zlib",
    ]
)
_NO_NAMES = {
    **dict.fromkeys(("open", "input", "print", "breakpoint"), "it reads or writes outside"),
    **dict.fromkeys(("exec", "eval", "compile", "__import__"), "it runs what is not its source"),
    **dict.fromkeys(("globals", "locals", "vars"), "its value may depend on earlier calls"),
    **dict.fromkeys(("hash", "id"), "it differs from process to process"),
}
_TEXTS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
_CLOCK = {"now", "utcnow", "today"}
_ZONE_AT = {"astimezone": 1, "fromtimestamp": 2, "timestamp": 99}  # the argument that is a zone
_ENDLESS = (
    "it remembers every input for ever; leave the memory out: equal inputs are called once anyway"
)
_OUTLIVES = "outside of the function"


def sources_behind(module: str, source: str) -> dict[str, str]:
    """Return the source of a module and of each module of `tasks` that it imports, by name.

    What declares and finds features is left out.
    """
    found = {module: source}
    todo = list(_own_imports(source))
    while todo:
        name = todo.pop()
        if name not in found and (text := _text_of(name)) is not None:
            found[name] = text
            todo += _own_imports(text)
    return found


def sources_of_function(function: Any) -> dict[str, str]:
    """Return the source of a notebook's function and of all that it uses, by name: functions, constants, imports."""
    found: dict[str, str] = {}
    todo = [function]
    while todo:
        one = todo.pop()
        own = textwrap.dedent(inspect.getsource(one))
        found |= sources_behind(one.__name__, own)
        for name in sorted(_used(ast.parse(own)) - set(found)):
            if name in function.__globals__:
                value = inspect.unwrap(function.__globals__[name])
                if inspect.isfunction(value) and value.__module__ == function.__module__:
                    todo.append(value)
                elif text := _as_statement(name, value, function.__module__):
                    found |= sources_behind(name, text)
    return found


def _used(tree: ast.Module) -> set[str]:
    """Return the names from outside that the bodies of functions read."""
    return {
        node.id
        for node, around in nodes_in_scope(tree)
        if isinstance(node, ast.Name) and around is not None and node.id not in around
    }


def _as_statement(name: str, value: Any, module: str) -> str:
    """Return what binds a name to such a value in a module."""
    if isinstance(value, ModuleType):
        return f"import {value.__name__}\n"
    origin, called = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if called and origin == module:
        return textwrap.dedent(inspect.getsource(value))
    if called and origin and origin != "builtins":
        return f"from {origin.lstrip('_')} import {called}\n"  # what is written in C has a module `_bisect`
    if isinstance(value, re.Pattern):
        value = (value.pattern, value.flags)
    if isinstance(value, set | frozenset):  # in another order in each process
        value = sorted(map(repr, value))
    try:
        ast.literal_eval(repr(value))
    except (ValueError, SyntaxError):
        return ""
    return f"{name} = {value!r}\n"


def source_digest(sources: Mapping[str, str]) -> str:
    """Return 16 hex digits that change with the code of modules, but not with their comments or docstrings."""
    content = hashlib.sha256()
    for name in sorted(sources):
        content.update(f"{name}\0{code_only(sources[name])}\0".encode())
    return content.hexdigest()[:16]


def code_only(source: str) -> str:
    r"""Return a source without comments, docstrings and blank lines; what is within its texts stays.

    Examples
    --------
    >>> code_only("'Of a module.'\n\nx = 1  # a comment\n")
    'x = 1\n'
    """
    lines = source.split("\n")
    in_text: set[int] = set()  # lines that end within a constant
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        row, column = token.start
        if token.type == tokenize.COMMENT:
            lines[row - 1] = lines[row - 1][:column]
        elif token.type in _TEXTS:
            in_text.update(range(row - 1, token.end[0] - 1))
    for text in _docstrings(ast.parse(source)):
        first, last = text.lineno - 1, (text.end_lineno or text.lineno) - 1
        before, after = lines[first][: text.col_offset], lines[last][text.end_col_offset :]
        lines[first : last + 1] = [before + after, *[""] * (last - first)]
        in_text.difference_update(range(first, last))
    kept = [line if row in in_text else line.rstrip() for row, line in enumerate(lines)]
    return "".join(f"{line}\n" for row, line in enumerate(kept) if line or row in in_text)


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value


def impurity(source: str) -> tuple[int, str] | None:
    """Return line and reason of the first thing in a source that a feature must not do; None if there is none.

    This is a look at the text: imports beyond :data:`MAY_IMPORT`, clocks, time zones, files, and state that outlives
    a call. What it cannot see, such as the order of a set, is for the repeated calls of `hash_features`.
    """
    tree = ast.parse(source)
    zoned = {
        id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call) and _has_zone(node)
    }
    found = [(line, f"it changes {name!r} {_OUTLIVES}") for line, name in changed_outside(tree)]
    for node, around in nodes_in_scope(tree):
        reason = None if id(node) in zoned else _fault(node, around)
        if reason:
            found.append((getattr(node, "lineno", 0), reason))
    return min(found) if found else None


def _has_zone(call: ast.Call) -> bool:
    """Return whether a call names its time zone, so that it does not depend on the machine's."""
    given = [*call.args, *(one.value for one in call.keywords)]
    none = given and isinstance(given[-1], ast.Constant) and given[-1].value is None
    return not none and len(given) >= _ZONE_AT.get(getattr(call.func, "attr", ""), 99)


def _fault(node: ast.AST, around: Scope) -> str | None:
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = _names(node)
        other = [name for name in names[:1] if not _is_pure(name)]
        if isinstance(node, ast.Import):
            other = [name for name in names if not _is_pure(name)]
        if not other and "functools.cache" in names:
            return _ENDLESS
        return f"it imports {other[0]!r}" if other else None
    if isinstance(node, ast.Global | ast.Nonlocal):
        return f"it changes {node.names[0]!r} {_OUTLIVES}"
    if isinstance(node, ast.Name) and node.id in _NO_NAMES and node.id not in (around or ()):
        return f"it calls {node.id!r}: {_NO_NAMES[node.id]}"
    if isinstance(node, ast.Attribute) and node.attr in _CLOCK:
        return f"it reads the clock by {node.attr!r}"
    if isinstance(node, ast.Attribute) and node.attr in _ZONE_AT:
        return f"it reads the time zone of the machine by {node.attr!r}; name one, such as UTC"
    return _ENDLESS if _is_endless(node) else None


def _is_endless(node: ast.AST) -> bool:
    """Return whether a node is ``functools.cache`` or an ``lru_cache`` without a bound."""
    if isinstance(node, ast.Attribute):
        return node.attr == "cache" and getattr(node.value, "id", "") == "functools"
    if isinstance(node, ast.Call):
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        sizes = [*node.args[:1], *(one.value for one in node.keywords if one.arg == "maxsize")]
        return called == "lru_cache" and any(getattr(one, "value", 0) is None for one in sizes)
    return False


def _is_pure(name: str) -> bool:
    if name.split(".")[0] == "tasks":
        return True
    return any(name == one or name.startswith(f"{one}.") for one in MAY_IMPORT)


def _names(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    module = node.module or "."
    return [module, *(f"{module}.{alias.name}" for alias in node.names)]


def _own_imports(source: str) -> Iterator[str]:
    """Yield the names in `tasks` that a source imports, but for what declares features."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in _names(node):
                is_machinery = name in _MACHINERY or name.startswith("tasks.features.kinds.")
                if name.split(".")[0] == "tasks" and not is_machinery:
                    yield name


def _text_of(name: str) -> str | None:
    """Return the source of a module, None if there is no such module: a name within one, for example."""
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin).read_text() if spec and spec.origin else None
