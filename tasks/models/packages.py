"""Which packages a saved model needs where it is served: what its Bento holds besides the service's own."""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from tasks.models import kinds_within, scorer_module
from tasks.models.golden import LIGHTGBM, SKOPS, estimator_file

_TASKS = Path(__file__).parents[1]
_BY_FILE = {  # scikit-learn's wheel has the OpenMP library that LightGBM's leaves to the system
    LIGHTGBM: {"lightgbm", "scikit-learn"},
    SKOPS: {"scikit-learn", "skops"},
}


def packages_of_model(kind: str, params: Mapping[str, Any], parts: Mapping[str, Any]) -> list[str]:
    """Return the packages that a saved model needs, sorted; of a blend, those of all its parts."""
    modules = {scorer_module(one) for one in kinds_within(kind, params)}
    return sorted({name for module in modules for name in packages_of(module, parts)})


def packages_of(module: str, parts: Mapping[str, Any]) -> list[str]:
    """Return the packages that a model needs, as requirements.lock names them, sorted.

    Parameters
    ----------
    module
        The module of what scores with it; what it imports, directly or not, counts if it lies in ``tasks/models``.
    parts
        Arrays or files by name; a skops file names the modules of its classes.

    Examples
    --------
    >>> packages_of("tasks.models.neural_net", {})
    ['numba', 'numpy', 'pyarrow']
    """
    found: set[str] = set()
    modules = {module}
    for name, part in parts.items():
        file = estimator_file(name)
        found |= _BY_FILE.get(str(file), set())
        if file == SKOPS:
            modules |= _modules_in(part)
    tops = {top for one in modules for top in _imports(one)}
    by_top = _distributions() if tops else {}
    found |= {by_top.get(top, [top])[0] for top in tops}
    return sorted(re.sub(r"[-_.]+", "-", name).lower() for name in found)


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Return which distributions install each top-level package; that reads a file of every one of them."""
    return metadata.packages_distributions()


def _modules_in(content: bytes) -> set[str]:
    """Return the modules of this library that a skops file names."""
    import skops.io

    named = skops.io.get_untrusted_types(data=content)
    return {name.rpartition(".")[0] for name in named if name.startswith("tasks.models.")}


def _imports(module: str) -> set[str]:
    """Return the top-level packages that a module of tasks/models needs, but for the standard library's.

    What it imports below `tasks` is followed; there, imports within functions do not count, for they serve training.
    """
    found: set[str] = set()
    todo = [module] if module.startswith("tasks.models.") else []
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        path = _file_of(name)
        if path is None or name in seen:
            continue
        seen.add(name)
        tree = ast.parse(path.read_text())
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(tree) if name == module else _outside_functions(tree):
            for imported in _names(node, package):
                parts = imported.split(".")
                if parts[0] == "tasks":
                    todo += [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
                else:
                    found.add(parts[0])
    return found - set(sys.stdlib_module_names)


def _file_of(module: str) -> Path | None:
    base = _TASKS.parent.joinpath(*module.split("."))
    return next(filter(Path.is_file, (base.with_suffix(".py"), base / "__init__.py")), None)


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs when a module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from _outside_functions(child)


def _names(node: ast.AST, package: str) -> Iterator[str]:
    """Yield the dotted names that a node imports, each of which may be a module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = resolve_name("." * node.level + (node.module or ""), package)
        yield from (f"{base}.{alias.name}" for alias in node.names)
