"""Which packages a saved model needs where it is served: what its Bento holds besides the service's own."""

import ast
import re
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from tasks.models.golden import LIGHTGBM, SKOPS

_TASKS = Path(__file__).parents[1]
_BY_FILE = {  # scikit-learn's wheel has the OpenMP library that LightGBM's leaves to the system
    LIGHTGBM: {"lightgbm", "scikit-learn"},
    SKOPS: {"scikit-learn", "skops"},
}


def packages_of(module: str, parts: Mapping[str, Any]) -> list[str]:
    """Return the packages that a model needs, as requirements.lock names them, sorted.

    Parameters
    ----------
    module
        The module of what scores with it; its imports count if it lies in ``tasks/models``.
    parts
        Arrays or files by name; a skops file names the modules of its classes.

    Examples
    --------
    >>> packages_of("tasks.models.neural_net", {})
    ['numpy']
    """
    found: set[str] = set()
    modules = {module}
    for name, part in parts.items():
        found |= _BY_FILE.get(name, set())
        if name == SKOPS:
            modules |= _modules_in(part)
    tops = {top for one in modules for top in _imports(one)}
    by_top = metadata.packages_distributions() if tops else {}
    found |= {by_top.get(top, [top])[0] for top in tops}
    return sorted(re.sub(r"[-_.]+", "-", name).lower() for name in found)


def _modules_in(content: bytes) -> set[str]:
    """Return the modules of this library that a skops file names."""
    import skops.io

    named = skops.io.get_untrusted_types(data=content)
    return {name.rpartition(".")[0] for name in named if name.startswith("tasks.models.")}


def _imports(module: str) -> set[str]:
    """Return the top-level packages that a module of tasks/models imports, but for the standard library's."""
    path = _TASKS.parent.joinpath(*module.split(".")).with_suffix(".py")
    if not module.startswith("tasks.models.") or not path.is_file():
        return set()
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    tops = {name.split(".")[0] for name in names}
    return tops - set(sys.stdlib_module_names) - {"tasks"}
