"""The space of a search: which values a parameter may take, and whether the best one lies at an edge.

A space maps parameters to a list of choices, or to ``{low, high, log}``; integers if both bounds and the
learner's default are integers.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from tasks.errors import ConfigError
from tasks.logs.value_text import is_integer, is_number
from tasks.models import make_learner

_EDGE = 0.02  # share of a span, on its own scale, that counts as its edge


def space_of(
    model: str | Mapping[str, Any], fixed: Mapping[str, Any], plan: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the space of a search, and the learner's defaults for its parameters, which lie inside.

    A span or list that leaves the default out is widened by it. Only on a logarithmic scale a default of zero
    cannot be reached: the low end stands for it.

    Parameters
    ----------
    model
        The kind of learner, or the model's block; its own space is used unless the plan has one.
    fixed
        Parameters that hold for every trial, so they are not searched.
    plan
        The model's block ``search``.

    Raises
    ------
    ConfigError
        If a parameter or span is not one, or nothing is left to search.
    """
    learner = make_learner(model, 2, **fixed)
    known = learner.get_params()
    spans = (plan.get("space") or learner.search_space).items()
    space: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for name, span in spans:
        if name in fixed:
            continue
        if (
            name not in known
        ):  # LightGBM takes more than it lists, without saying what their defaults are
            known[name] = _first(span)
            try:
                make_learner(model, 2, **{**fixed, name: known[name]})
            except ConfigError:
                raise ConfigError(
                    f"search: {learner.kind!r} has no parameter {name!r} to search"
                ) from None
        space[name], defaults[name] = _with_default(name, span, known[name])
    if not space:
        raise ConfigError(
            "search: nothing is left to search; `params` fixes every parameter of the space"
        )
    return space, defaults


def suggest(trial: Any, name: str, span: Any, default: Any) -> Any:
    """Return the value of a parameter that an Optuna trial is to use."""
    if isinstance(span, list):
        return trial.suggest_categorical(name, span)
    log = bool(span.get("log", False))
    if is_integer(span["low"]) and is_integer(span["high"]) and is_integer(default):
        return trial.suggest_int(name, span["low"], span["high"], log=log)
    return trial.suggest_float(name, float(span["low"]), float(span["high"]), log=log)


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


def _with_default(name: str, span: Any, default: Any) -> tuple[Any, Any]:
    """Return a span that contains the default, checked, and the default within it."""
    if isinstance(span, list) and span:
        return (span if default in span else [default, *span]), default
    keys = set(span) if isinstance(span, Mapping) else set()
    if not ({"low", "high"} <= keys <= {"low", "high", "log"} and _is_span(span)):
        raise ConfigError(
            f"search: the space of {name!r} must be a list of choices or {{low, high, log}}, found {span!r}"
        )
    if not is_number(default):
        raise ConfigError(f"search: {name!r} is not a number, so its space is a list of choices")
    if span.get("log") and default <= 0:
        return span, span["low"]
    if span["low"] <= default <= span["high"]:
        return span, default
    return {**span, "low": min(span["low"], default), "high": max(span["high"], default)}, default


def _first(span: Any) -> Any:
    """Return the low end of a span, or its first choice."""
    if isinstance(span, Mapping):
        return span.get("low")
    return span[0] if isinstance(span, list) and span else None


def _is_span(span: Mapping[str, Any]) -> bool:
    low, high = span["low"], span["high"]
    if not (is_number(low) and is_number(high) and low < high):
        return False
    return low > 0 if span.get("log") else True
