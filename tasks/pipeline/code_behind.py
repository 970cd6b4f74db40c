"""Which files a task executes, found by following its imports; ``pipeline.yaml`` names the functions here.

Ploomber compares a task's own source and its parameters. One of the parameters is therefore the digest of
every file behind the task, so that changing any of them makes exactly the tasks that execute it outdated.
"""

import ast
import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tasks.knobs.blends import blocks_behind
from tasks.models import KINDS, scorer_module
from tasks.pipeline.notebook_cells import code_cells, python_of
from tasks.storage.workspace import project_root

_LEFT_OUT = {
    "model",
    "__pycache__",
    ".ipynb_checkpoints",
}  # a bundled model, and what tools leave behind
_FOUND: dict[
    str, dict[str, str]
] = {}  # what this process returned, for the record of a task's products
_MODELS = "tasks/models"  # imports its modules by a name in env.yaml


def code_behind(
    source: str,
    besides: Iterable[str] = (),
    *,
    features_of: str | None = None,
    model: str = "",
    models: Mapping[str, Any] | None = None,
) -> str:
    """Return 16 hex digits that change whenever a file that running `source` may execute does.

    Parameters
    ----------
    source
        A module's file or a notebook, relative to the project.
    besides
        Further files that the task reads; a folder counts with all it holds.
    features_of
        A schema's file, for a task that calls its features: they are found by name, not by import.
    model, models
        The name of the one model that the task trains, none if it is empty, and the blocks of `env.yaml`. Without
        blocks the task may use any model: all of ``tasks/models`` counts if the task imports it.

    Returns
    -------
    str
        A digest of the paths and contents of :func:`files_behind`.
    """
    found = digests_behind(source, besides, features_of=features_of, model=model, models=models)
    digest = hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]
    _FOUND[digest] = found
    return digest


def digests_behind(source: str, besides: Iterable[str] = (), **more: Any) -> dict[str, str]:
    """Return the digest, 16 hex digits, of each of :func:`files_behind`, by its path."""
    root = project_root()
    return {
        name: hashlib.sha256((root / name).read_bytes()).hexdigest()[:16]
        for name in files_behind(source, besides, **more)
    }


def found_behind(digest: str) -> dict[str, str] | None:
    """Return the files, with their digests, for which this process returned that digest; None if it did not."""
    return _FOUND.get(digest)


def files_behind(
    source: str,
    besides: Iterable[str] = (),
    *,
    features_of: str | None = None,
    model: str = "",
    models: Mapping[str, Any] | None = None,
) -> list[str]:
    """Return the project's files that running `source` may execute, and those `besides`, sorted.

    Imports are followed as text, lazy ones included, so nothing is run. A notebook is not listed itself,
    because Ploomber compares it without its outputs.
    """
    root = project_root()
    todo = {root / source, *_files(root, [*besides, *_features(root, features_of)])}
    by_name = root / _MODELS / "__init__.py" if models is None else None
    for module in _modules_of(blocks_behind(model, models)):
        todo |= set(_module_files(module, root))
    seen: set[Path] = set()
    while todo:
        path = todo.pop()
        seen.add(path)
        if path == by_name:
            todo |= {*path.parent.glob("*.py")} - seen
        todo |= _imports(path, path.stat().st_mtime_ns, root) - seen
    if source.endswith(".ipynb"):
        seen.discard(root / source)
    return sorted(_name(path, root) for path in seen)


def import_chain(source: str, name: str) -> list[str]:
    """Return the shortest way by imports from `source` to a file, both ends included; empty if there is none."""
    root = project_root()
    start, end = root / source, root / name
    before: dict[Path, Path | None] = {start: None}
    todo = deque([start])
    while todo and end not in before:
        path = todo.popleft()
        for other in sorted(_imports(path, path.stat().st_mtime_ns, root) - before.keys()):
            before[other] = path
            todo.append(other)
    chain: list[str] = []
    step: Path | None = end if end in before else None
    while step is not None:
        chain.append(_name(step, root))
        step = before[step]
    return chain[::-1]


def files_below(folder: str | Path) -> list[Path]:
    """Return the files of a folder that count as its code, sorted; absolute paths."""
    folder = project_root() / folder
    inside = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in inside if not _LEFT_OUT & set(path.relative_to(folder).parts))


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _files(root: Path, names: Iterable[str]) -> Iterator[Path]:
    for name in names:
        place = root / name
        if place.is_dir():
            yield from files_below(place)
        elif place.is_file():  # a schema that is missing is reported by the task that reads it
            yield place


def _features(root: Path, schema: str | None) -> Iterator[str]:
    """Yield the files of the features that a schema names; one that cannot be read is reported by its task."""
    try:
        declared = yaml.safe_load((root / schema).read_text()) if schema else {}
        names = [*declared.get("features", ())]
    except (OSError, yaml.YAMLError, AttributeError, TypeError):
        return
    yield from (f"tasks/features/{name}.py" for name in names)


def _modules_of(block: Any) -> Iterator[str]:
    """Yield the modules of `tasks` that a model's block names, for its estimators within, too, and those that score."""
    if isinstance(block, Mapping):
        kind = str(block.get("kind", ""))
        named = (KINDS.get(kind, kind).partition(":")[0], scorer_module(kind))
        yield from (module for module in named if module.split(".")[0] == "tasks")
    if isinstance(block, Mapping | list):
        for value in block.values() if isinstance(block, Mapping) else block:
            yield from _modules_of(value)


@cache
def _imports(path: Path, modified_ns: int, root: Path) -> frozenset[Path]:
    """Return the files of `tasks` that one file imports; JupyterLab asks again and again, so it is kept."""
    if path.suffix not in (".py", ".ipynb"):
        return frozenset()
    return frozenset(
        file
        for name in imported_names(path)
        if name.split(".")[0] == "tasks"
        for file in _module_files(name, root)
    )


def imported_names(path: Path) -> Iterator[str]:
    """Yield the modules that a module or notebook imports, and the names that it takes from them, dotted."""
    for node in (node for tree in _trees(path) for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module_files(name: str, root: Path) -> list[Path]:
    """Return the packages on the way to a dotted name, and its module."""
    parts = name.split(".")
    bases = [root.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    found = [path for base in bases for path in (base / "__init__.py", base.with_suffix(".py"))]
    return [path for path in found if path.is_file()]


def _trees(path: Path) -> Iterator[ast.Module]:
    """Yield the syntax of a module, or of each cell of a notebook; what is no Python is reported when it runs."""
    if path.suffix == ".py":
        found: list[str | None] = [path.read_text()]
    else:
        found = [python_of(cell.source) for cell in code_cells(path)]
    for code in found:
        with suppress(SyntaxError, ValueError):
            yield ast.parse(code or "")
