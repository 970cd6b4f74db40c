"""The trials of a search, drawn: how it went, the loss against each parameter, how much each one mattered."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tasks.figures.style import ACCENT, INK, SOFT, percent

_LOSS = "validation log loss (nats)"
_RING: dict[str, Any] = {"s": 110, "facecolors": "none", "edgecolors": INK, "zorder": 4}
_FIRST = ("trial", "valid_log_loss", "epochs", "seconds", "state")


def draw(found: Any, *, title: str) -> dict[str, Figure]:
    """Return the figures of a search by file name; none if fewer than two trials were completed.

    Parameters
    ----------
    found
        A :class:`tasks.training.search.SearchResult`.
    title
        The model's name.
    """
    trials = found.trials
    if (trials["state"] == "complete").sum() < 2:
        return {}
    default = _default_of(trials, found.defaults)
    figures = {
        "search_history.png": _history(
            trials.sort_values("trial"), default, title=f"{title}: the search"
        ),
        "search_slices.png": _slices(
            trials, default, title=f"{title}: loss against each parameter"
        ),
    }
    if (shares := _shares(found.study)) is not None:
        figures["search_importance.png"] = _importance(
            shares, title=f"{title}: which parameter mattered in the search"
        )
    return figures


def _default_of(trials: pd.DataFrame, defaults: Mapping[str, Any]) -> pd.DataFrame:
    """Return the trial of the learner's defaults: no row if there was none."""
    if not defaults or not set(defaults) <= set(trials.columns):
        return trials.iloc[:0]
    same = np.all([trials[name] == value for name, value in defaults.items()], axis=0)
    return trials[same & (trials["state"] == "complete")].head(1)


def _history(trials: pd.DataFrame, default: pd.DataFrame, *, title: str) -> Figure:
    figure, axes = plt.subplots(figsize=(7, 3.2))
    complete = trials[trials["state"] == "complete"]
    stopped = trials[trials["state"] == "pruned"]
    axes.scatter(complete["trial"], complete["valid_log_loss"], color=INK, label="complete")
    if len(stopped):
        axes.scatter(
            stopped["trial"], stopped["valid_log_loss"], color=SOFT, marker="x",
            label="pruned: loss of its last epoch",
        )  # fmt: skip
    if len(default):
        axes.scatter(default["trial"], default["valid_log_loss"], **_RING, label="the default")
    best = complete["valid_log_loss"].cummin()
    axes.step(complete["trial"], best, color=ACCENT, where="post", label="best so far")
    axes.set(title=title, xlabel="trial", ylabel=_LOSS)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8)
    return figure


def _slices(trials: pd.DataFrame, default: pd.DataFrame, *, title: str) -> Figure:
    names = [name for name in trials.columns if name not in _FIRST]
    figure, grid = plt.subplots(
        1, len(names), figsize=(2.4 * len(names) + 1.4, 3.2), sharey=True, squeeze=False
    )
    for axes, name in zip(grid[0], names, strict=True):
        for state, color, marker in (("complete", INK, "o"), ("pruned", SOFT, "x")):
            rows = trials[trials["state"] == state]
            axes.scatter(_positions(rows[name]), rows["valid_log_loss"], color=color, marker=marker)
        best = trials.iloc[[0]]
        axes.scatter(
            _positions(best[name]), best["valid_log_loss"], color=ACCENT, zorder=3, label="best"
        )
        if len(default):
            values = _positions(default[name])
            axes.scatter(values, default["valid_log_loss"], **_RING, label="the default")
        if _is_logarithmic(trials[name]):
            axes.set_xscale("log")
        axes.margins(x=0.15)
        axes.set_xlabel(name)
    grid[0][0].set_ylabel(_LOSS)
    grid[0][0].legend(fontsize=8)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)
    return figure


def _positions(values: pd.Series) -> pd.Series:
    return values if pd.api.types.is_numeric_dtype(values) else values.astype(str)


def _is_logarithmic(values: pd.Series) -> bool:
    """Return whether the values of a parameter span a decade."""
    if not pd.api.types.is_numeric_dtype(values) or not (values > 0).all():
        return False
    return bool(values.max() / values.min() >= 10)


def _shares(study: Any) -> Mapping[str, float] | None:
    """Return how much of the loss's variance over the trials each parameter explains; None if too few say so."""
    if study is None:
        return None
    from optuna.importance import get_param_importances

    values = [trial.value for trial in study.get_trials(deepcopy=False) if trial.value is not None]
    if len(values) < 4 or np.ptp(values) == 0:
        return None
    shares: Mapping[str, float] = get_param_importances(study)
    return shares


def _importance(shares: Mapping[str, float], *, title: str) -> Figure:
    names = sorted(shares, key=lambda name: shares[name])
    figure, axes = plt.subplots(figsize=(6, 0.4 * len(names) + 1.1))
    axes.barh(names, [shares[name] for name in names], color=INK)
    axes.set(title=title, xlabel="share of the variance of the loss between trials")
    percent(axes.xaxis)
    return figure
