"""The space of a search: which values a parameter may take, and whether the best one lies at an edge.

A space maps parameters to a list of choices, or to ``{low, high, log}``. Nothing outside of it is tried. A parameter whose
default is an integer has integers for bounds, and takes no other value.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from tasks.errors import ConfigError
from tasks.logs.value_text import is_integer, is_number
from tasks.models import learner_class, make_learner

_EDGE = 0.02  # share of a span, on its own scale, that counts as its edge


def space_of(
    model: str | Mapping[str, Any],
    fixed: Mapping[str, Any],
    plan: Mapping[str, Any],
    n_tokens: int | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the space of a search, and those of the learner's defaults that lie inside, which are tried first.

    Parameters
    ----------
    model
        The kind of learner, or the model's block; its own space is used unless the plan has one.
    fixed
        Parameters that hold for every trial, so they are not searched.
    plan
        The model's block ``search``; by halving, a learner's own space is the surroundings of its defaults.
    n_tokens
        Tokens of a row, on which defaults may depend.

    Raises
    ------
    ConfigError
        If a parameter or span is not one, or nothing is left to search.
    """
    learner = make_learner(model, 2, n_tokens=n_tokens, **fixed)
    known = learner.get_params()
    near = _near_defaults(learner) if plan.get("method") == "halving" else {}
    given = plan.get("space") or near or learner.search_space
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"search: space must map parameters to choices or {{low, high, log}}, found {given!r}"
        )
    space: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for name, span in given.items():
        if name in fixed:
            continue
        _check_span(name, span, known.get(name))
        for value in _ends(span):
            _check_value(model, fixed, name, value, is_known=name in known, kind=learner.kind)
        space[name] = _as_numbers(span, known.get(name))
        if name in known and _is_inside(known[name], span):
            defaults[name] = known[name]
    if not space:
        raise ConfigError(
            "search: nothing is left to search; `params` fixes every parameter of the space"
        )
    return space, defaults


def has_space(model: Mapping[str, Any]) -> bool:
    """Return whether a kind has a space of its own with parameters that ``params`` does not fix."""
    cls = learner_class(model["kind"])
    names = getattr(cls, "searched_around", {}) or getattr(cls, "search_space", {})
    return bool(set(names) - set(model.get("params") or {}))


def suggest(trial: Any, name: str, span: Any) -> Any:
    """Return the value of a parameter that an Optuna trial is to use: an integer between integers."""
    if isinstance(span, list):
        return trial.suggest_categorical(name, span)
    low, high, log = span["low"], span["high"], bool(span.get("log", False))
    if is_integer(low) and is_integer(high):
        return trial.suggest_int(name, low, high, log=log)
    return trial.suggest_float(name, float(low), float(high), log=log)


def edge_notes(space: Mapping[str, Any], best: Mapping[str, Any], *, key: str) -> list[str]:
    """Return a sentence for each parameter whose best value lies at an edge of what was tried.

    Parameters
    ----------
    space
        What was tried; of a list only numbers, three or more, have edges.
    best
        The best values.
    key
        Where the user widens it, such as ``search.space``.

    Examples
    --------
    >>> edge_notes({"alpha": {"low": 0.01, "high": 0.5, "log": True}}, {"alpha": 0.498}, key="search.space")
    ['The best alpha, 0.498, lies at the upper edge of what was tried (0.01 to 0.5): a better one may lie beyond; widen search.space.alpha.']
    """
    return list(_edge_notes(space, best, key))


def _edge_notes(space: Mapping[str, Any], best: Mapping[str, Any], key: str) -> Iterator[str]:
    for name, span in space.items():
        bounds = _bounds(span)
        if bounds is None or not is_number(best.get(name)):
            continue
        low, high, log = bounds
        scale = math.log if log else float
        share = (scale(best[name]) - scale(low)) / (scale(high) - scale(low))
        if share <= _EDGE or share >= 1 - _EDGE:
            edge = "lower" if share <= _EDGE else "upper"
            yield (
                f"The best {name}, {best[name]:.3g}, lies at the {edge} edge of what was tried ({low:g} to {high:g}): "
                f"a better one may lie beyond; widen {key}.{name}."
            )


def _near_defaults(learner: Any) -> dict[str, Any]:
    """Return spans from a factor below to a factor above a learner's defaults, on a logarithmic scale."""
    known = learner.get_params()
    return {
        name: {"low": known[name] / factor, "high": known[name] * factor, "log": True}
        for name, factor in learner.searched_around.items()
        if known[name] > 0
    }


def _bounds(span: Any) -> tuple[float, float, bool] | None:
    """Return low, high and whether the scale is logarithmic; None for choices without an order."""
    if isinstance(span, Mapping):
        low, high, log = span["low"], span["high"], bool(span.get("log", False))
    elif len(set(span)) >= 3 and all(is_number(value) for value in span):
        low, high = min(span), max(span)
        log = low > 0
    else:
        return None
    return (low, high, log) if low < high else None


def _check_span(name: str, span: Any, default: Any) -> None:
    """Raise ConfigError unless a parameter with that default can be searched in such a span."""
    if isinstance(span, list) and span:
        return
    keys = set(span) if isinstance(span, Mapping) else set()
    if not ({"low", "high"} <= keys <= {"low", "high", "log"} and _is_span(span)):
        raise ConfigError(
            f"search: the space of {name!r} must be a list of choices or {{low, high, log}}, found {span!r}"
        )
    if default is not None and not is_number(default):
        raise ConfigError(f"search: {name!r} is not a number, so its space is a list of choices")
    ends = (span["low"], span["high"])
    if is_integer(default) and not all(map(is_integer, ends)):
        raise ConfigError(
            f"search: {name!r} is an integer, so low and high are integers, found {ends[0]!r} and {ends[1]!r}"
        )


def _check_value(
    model: str | Mapping[str, Any],
    fixed: Mapping[str, Any],
    name: str,
    value: Any,
    *,
    is_known: bool,
    kind: str,
) -> None:
    """Raise ConfigError unless the learner takes a value that would be tried.

    LightGBM takes more parameters than it lists, so that one which is not known is tried too.
    """
    try:
        make_learner(model, 2, **{**fixed, name: value})
    except ConfigError as error:
        if not is_known:
            raise ConfigError(f"search: {kind!r} has no parameter {name!r} to search") from None
        raise ConfigError(f"search: the space of {name!r} holds {value!r}: {error}") from None


def _ends(span: Any) -> list[Any]:
    """Return the choices of a list, or both ends of a span."""
    return list(span) if isinstance(span, list) else [span["low"], span["high"]]


def _as_numbers(span: Any, default: Any) -> Any:
    """Return a span of floats for a parameter whose default is one: 1 to 50 is not only whole numbers then."""
    if isinstance(span, list) or default is None or is_integer(default):
        return span
    return {**span, "low": float(span["low"]), "high": float(span["high"])}


def _is_inside(default: Any, span: Any) -> bool:
    """Return whether a search could try the default."""
    if isinstance(span, list):
        return default in span
    return default is not None and bool(span["low"] <= default <= span["high"])


def _is_span(span: Mapping[str, Any]) -> bool:
    low, high = span["low"], span["high"]
    if not (is_number(low) and is_number(high) and low < high):
        return False
    return low > 0 if span.get("log") else True
