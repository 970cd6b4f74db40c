"""Which names functions bind themselves, and what they change outside of themselves, seen in their text."""

import ast
from collections.abc import Iterator
from typing import Any

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_CHANGING = {
    "add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "insert", "move_to_end", "pop",
    "popitem", "popleft", "remove", "reverse", "rotate", "setdefault", "sort", "subtract", "update",
}  # methods that change what they are called on  # fmt: skip
_CHANGING_FIRST = {"next", "setattr", "delattr", "insort", "insort_left", "insort_right"}
# what the functions around a node bind; None: there is no function around it
Scope = frozenset[str] | None


def nodes_in_scope(node: ast.AST, around: Scope = None) -> Iterator[tuple[ast.AST, Scope]]:
    """Yield each node below one, with the names that the functions around it bind.

    Examples
    --------
    >>> tree = ast.parse("x = id\\ndef f(id): return id")
    >>> [around for node, around in nodes_in_scope(tree) if isinstance(node, ast.Name) and node.id == "id"]
    [None, frozenset({'id'})]
    """
    for child in ast.iter_child_nodes(node):
        yield child, around
        if isinstance(child, _FUNCTIONS):
            inside = (around or frozenset()) | _bound(child)
            body = child.body if isinstance(child.body, list) else [child.body]
            for part in ast.iter_child_nodes(child):
                scope = inside if part in body else around
                yield part, scope
                yield from nodes_in_scope(part, scope)
        elif isinstance(child, _COMPREHENSIONS) and around is not None:
            yield from nodes_in_scope(child, around | _stored(child))
        else:
            yield from nodes_in_scope(child, around)


def changed_outside(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and name of what a function changes in its text, but does not bind: it outlives the call.

    Examples
    --------
    >>> list(changed_outside(ast.parse("seen = {}\\ndef f(x):\\n    return seen.setdefault(x, len(seen))")))
    [(3, 'seen')]
    """
    kept = {name for node in tree.body for name in _kept(node)}
    for node, around in nodes_in_scope(tree):
        if around is not None:
            name, is_certain = _changed(node)
            if name and name not in around and (is_certain or name in kept):
                yield getattr(node, "lineno", 0), name
        if isinstance(node, _FUNCTIONS):
            own = _with_kept_default(node)
            found = (_changed(one)[0] for part in _body(node) for one in ast.walk(part))
            yield from ((node.lineno, name) for name in found if name in own)


def _changed(node: ast.AST) -> tuple[str, bool]:
    """Return the name of what a node changes in place, and whether it certainly does."""
    if isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load):
        return _base(node), True
    if isinstance(node, ast.Call):
        function = node.func
        called = getattr(function, "attr", getattr(function, "id", ""))
        if called in _CHANGING_FIRST and node.args:
            return _base(node.args[0]), False
        if isinstance(function, ast.Attribute) and called in _CHANGING:
            return _base(function.value), False
    return "", False


def _base(node: ast.AST) -> str:
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _body(function: Any) -> list[ast.AST]:
    return function.body if isinstance(function.body, list) else [function.body]


def _bound(function: Any) -> frozenset[str]:
    """Return parameters and variables of a function, those of comprehensions and functions in it included."""
    names = {one.arg for one in ast.walk(function.args) if isinstance(one, ast.arg)}
    for part in _body(function):
        names |= _stored(part)
    return frozenset(names)


def _stored(tree: ast.AST) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            names.add(node.name)
    return frozenset(names)


def _kept(node: ast.stmt) -> frozenset[str]:
    """Return what a statement of a module binds, but for imports and what lies within functions."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return frozenset([node.name])
    return frozenset() if isinstance(node, ast.Import | ast.ImportFrom) else _stored(node)


def _with_kept_default(function: Any) -> frozenset[str]:
    """Return the parameters whose default is a list, a dictionary or the like, which all calls share."""
    args = function.args
    positional = [*args.posonlyargs, *args.args]
    pairs = [
        *zip(positional[len(positional) - len(args.defaults) :], args.defaults, strict=True),
        *zip(args.kwonlyargs, args.kw_defaults, strict=True),
    ]
    constant = ast.Constant | ast.Tuple | ast.UnaryOp
    return frozenset(one.arg for one, value in pairs if value and not isinstance(value, constant))
