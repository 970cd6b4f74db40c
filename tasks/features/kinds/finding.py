"""Features by their names: ``tasks/features/<name>.py`` holds the function ``<name>``."""

import importlib
import pkgutil
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import tasks.features
from tasks.errors import ConfigError
from tasks.features.kinds.declaration import Feature, declared
from tasks.features.kinds.source import impurity, source_digest, sources_behind, sources_of_function

_ROOM = "tasks.features"
_tried: dict[str, "Found"] = {}  # functions of a notebook, for this process only
_names_tried: list[str] = []  # in their order, one for each try


class Found(NamedTuple):
    """A feature and the digest of its source."""

    feature: Feature
    source: str


def feature_names() -> list[str]:
    """Return the names of all features, sorted.

    Examples
    --------
    >>> "hour_of_day" in feature_names()
    True
    """
    folders = tasks.features.__path__
    found = {module.name for module in pkgutil.iter_modules(folders) if not module.ispkg}
    return sorted(found | set(_tried))


def find_feature(name: str) -> Found:
    """Return the feature of a name.

    Raises
    ------
    ConfigError
        If there is no such module, it cannot be imported, declares no such feature, or does what a feature
        must not do.
    """
    return _tried.get(name) or _find(name)


def try_feature(function: Any) -> Feature:
    """Make a function of a notebook known by its name in this process, as a module of ``tasks/features`` is.

    Raises
    ------
    ConfigError
        If it is no feature, or does what a feature must not do.
    """
    found = declared(function)
    if found is None:
        raise ConfigError(f'{function!r} is not declared; put @feature("...") above its definition')
    sources = sources_of_function(function)
    _check_purity(sources, f"feature {found.name!r}")
    _tried[found.name] = Found(found, source_digest(sources))
    _names_tried.append(found.name)
    return found


def n_tries() -> int:
    """Return how often a function was tried in this process: what was kept of its values before is out of date."""
    return len(_names_tried)


def fresh_feature(name: str) -> Feature:
    """Return a feature of its module executed anew, with what it imports: without whatever earlier calls left there.

    One of a notebook, which has no module, is returned as it is.
    """
    if name in _tried:
        return _tried[name].feature
    module = f"{_ROOM}.{name}"
    behind = sources_behind(module, _path(name, module).read_text())
    kept = {one: sys.modules.pop(one) for one in behind if one in sys.modules}
    try:
        found = declared(getattr(importlib.import_module(module), name, None))
    finally:
        for one in behind:
            sys.modules.pop(one, None)
        for one, known in kept.items():
            package, _, child = one.rpartition(".")
            sys.modules[one] = known
            setattr(sys.modules[package], child, known)
    return found or find_feature(name).feature


@cache
def _find(name: str) -> Found:
    module = f"{_ROOM}.{name}"
    path = _path(name, module)
    try:
        sources = sources_behind(module, path.read_text())
        _check_purity(sources, str(path))
        function = getattr(importlib.import_module(module), name, None)
    except ConfigError:
        raise
    except Exception as error:  # whatever its own code raises
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{path}: feature {name!r} cannot be imported ({type(error).__name__}: {reason}); correct the file"
        ) from None
    found = declared(function)
    if found is None or found.name != name:
        raise ConfigError(
            f"{path}: declares no feature {name!r}; the function is named like its file, with @feature above it"
        )
    return Found(found, source_digest(sources))


def _path(name: str, module: str) -> Path:
    spec = find_spec(module) if name.isidentifier() else None
    if spec is None or spec.origin is None or spec.submodule_search_locations is not None:
        names = feature_names()
        near = get_close_matches(name, names, 1)
        known = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}."
        raise ConfigError(f"feature {name!r} is unknown; {known} Or add tasks/features/{name}.py")
    return Path(spec.origin)


def _check_purity(sources: Mapping[str, str], place: str) -> None:
    for number, (name, source) in enumerate(sources.items()):
        found = impurity(source)
        if found is not None:
            line, reason = found
            where = f"line {line}: {reason}"
            if number:
                where = f"it uses {name}, where, in line {line}, {reason}"
            raise ConfigError(f"{place}: {where}; a feature's value follows from its inputs alone")
