"""Names that a notebook uses before it defines them, or that only a kernel's memory holds."""

import ast
import builtins
from collections.abc import Iterator, Mapping

from tasks.ideas.notebook import Fault
from tasks.pipeline.notebook_cells import assigned

_GIVEN = {*dir(builtins), "display", "get_ipython", "In", "Out", "_", "__name__", "__file__"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SIMPLE = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr, ast.Assert, ast.Return, ast.Delete)
Use = tuple[str, int, bool]  # name, line, whether only when a function is called


def undefined(trees: Mapping[int, ast.Module]) -> Iterator[Fault]:
    """Yield each name that is used before a cell defines it, read from top to bottom.

    What a function uses may be defined in any cell; that it is by the time of the call is for the run to find.
    """
    first_in: dict[str, int] = {}
    for number, tree in trees.items():
        for name, _ in assigned(tree):
            first_in.setdefault(name, number)
    known = set(_GIVEN)
    for number, tree in trees.items():
        told: set[str] = set()
        for statement in tree.body:
            own = {name for name, _ in assigned(statement)}
            own |= _walrus(statement)
            here = known if isinstance(statement, _SIMPLE) else known | own
            here = here | _walrus(statement)
            for name, line, is_deferred in uses(statement):
                if name in here or name in told or (is_deferred and name in first_in):
                    continue
                told.add(name)
                yield Fault(number, line, _problem(name, number, first_in))
            known |= own


def _problem(name: str, number: int, first_in: Mapping[str, int]) -> str:
    if name not in first_in:
        return f"uses {name!r}, which no cell defines; a kernel may still remember it from a deleted one"
    if first_in[name] == number:
        return f"uses {name!r} before this cell defines it"
    return f"uses {name!r}, which only code cell {first_in[name]} defines; move it up"


def uses(node: ast.AST) -> Iterator[Use]:
    """Yield the names from outside that code reads, in order.

    Examples
    --------
    >>> list(uses(ast.parse("a = [b(i) for i in c]\\ndef f(x=d): return x + e")))
    [('b', 1, False), ('c', 1, False), ('d', 2, False), ('e', 2, True)]
    """
    if isinstance(node, ast.Name):
        if isinstance(node.ctx, ast.Load):
            yield node.id, node.lineno, False
    elif isinstance(node, _FUNCTIONS):
        yield from _of_function(node)
    elif isinstance(node, _COMPREHENSIONS):
        own = {one.id for part in node.generators for one in _stored(part.target)}
        yield from (
            use for child in ast.iter_child_nodes(node) for use in uses(child) if use[0] not in own
        )
    elif isinstance(node, ast.ClassDef):
        own = {name for child in node.body for name, _ in assigned(child)}
        yield from (
            use for child in ast.iter_child_nodes(node) for use in uses(child) if use[0] not in own
        )
    else:
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.lineno, False
        for child in ast.iter_child_nodes(node):
            yield from uses(child)


def _of_function(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> Iterator[Use]:
    """Yield what a definition reads around it at once, and what its body reads when it is called."""
    now = [
        *getattr(node, "decorator_list", []),
        *node.args.defaults,
        *filter(None, node.args.kw_defaults),
    ]
    if not isinstance(node, ast.Lambda):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        now += [one.annotation for one in arguments if one.annotation]
        now += [node.returns] if node.returns else []
    for child in now:
        yield from uses(child)
    body = node.body if isinstance(node.body, list) else [node.body]
    own = {one.arg for one in ast.walk(node.args) if isinstance(one, ast.arg)}
    own |= {name for child in body for name, _ in assigned(child)} | {
        name for child in body for name in _walrus(child)
    }
    yield from (
        (name, line, True) for child in body for name, line, _ in uses(child) if name not in own
    )


def _stored(node: ast.AST) -> Iterator[ast.Name]:
    return (one for one in ast.walk(node) if isinstance(one, ast.Name))


def _walrus(node: ast.AST) -> set[str]:
    return {one.target.id for one in ast.walk(node) if isinstance(one, ast.NamedExpr)}
