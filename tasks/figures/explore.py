"""The figures of ``notebooks/explore.ipynb``: click rates and what the fields hold."""

from datetime import date
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.figures.style import ACCENT, INK, SOFT, percent


def _short(value: Any) -> str:
    """Return a tick label: month and day of a date, anything else as it is."""
    return f"{value:%m-%d}" if isinstance(value, date) else str(value)


def rate_over(table: pd.DataFrame, *, title: str, x_label: str, overall: float) -> Figure:
    """Draw a click rate with its interval along an ordered axis, the overall rate beside it."""
    figure, axes = plt.subplots()
    x = np.arange(len(table))
    axes.fill_between(x, table["low"], table["high"], color=SOFT, alpha=0.5, label="95% interval")
    axes.plot(x, table["ctr"], color=INK, marker="o", markersize=3, label="click rate")
    axes.axhline(
        overall, color=ACCENT, linestyle="--", linewidth=1, label=f"all rows: {overall:.1%}"
    )
    step = max(1, len(table) // 12)
    axes.set_xticks(x[::step], [_short(value) for value in table.index[::step]])
    axes.set(title=title, xlabel=x_label, ylabel="click rate (%)")
    percent(axes.yaxis)
    axes.legend(loc="best", fontsize=8)
    return figure


def rate_of(table: pd.DataFrame, *, title: str, overall: float, axes: Axes | None = None) -> Figure:
    """Draw the click rate of each group as a dot with its interval, and its share of the traffic."""
    if axes is None:
        _, axes = plt.subplots(figsize=(8, 0.32 * len(table) + 1.2))
    y = np.arange(len(table))[::-1]
    reach = [table["ctr"] - table["low"], table["high"] - table["ctr"]]
    axes.errorbar(
        table["ctr"], y, xerr=reach, fmt="o", color=INK, ecolor=SOFT, elinewidth=3, markersize=5
    )
    axes.axvline(overall, color=ACCENT, linestyle="--", linewidth=1)
    labels = [
        f"{name}  ({share:.1%})" for name, share in zip(table.index, table["share"], strict=True)
    ]
    axes.set_yticks(y, labels)
    axes.set(title=title, xlabel="click rate (%); dashed: all rows")
    percent(axes.xaxis)
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    return figure


def field_sizes(table: pd.DataFrame, *, title: str) -> Figure:
    """Draw the number of distinct values of each field (log scale) beside its missing share."""
    table = table.sort_values("n_distinct")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 0.26 * len(table) + 1), sharey=True)
    left.barh(table.index, table["n_distinct"], color=INK)
    left.set_xscale("log")
    left.set(title=title, xlabel="distinct values (log scale)")
    for name, value in table["n_distinct"].items():
        left.text(value * 1.15, str(name), f"{value:,}", va="center", fontsize=8)
    left.margins(x=0.25)
    right.barh(table.index, table["missing_share"], color=SOFT)
    right.set(
        title="... and how often it is missing",
        xlabel="rows with the missing-like value (%)",
        xlim=(0, 1),
    )
    percent(right.xaxis)
    return figure


def novelty(table: pd.DataFrame, *, title: str, n_fields: int = 10) -> Figure:
    """Draw the share of traffic with a value never seen on an earlier day, last day against mean."""
    mean = table.mean(axis=1).sort_values().tail(n_fields)
    figure, axes = plt.subplots(figsize=(8, 0.3 * len(mean) + 1.2))
    axes.barh(mean.index, mean, color=SOFT, label="mean of all days")
    axes.plot(
        table.loc[mean.index].iloc[:, -1],
        mean.index,
        "D",
        color=ACCENT,
        label=f"last day ({table.columns[-1]})",
    )
    axes.set(title=title, xlabel="rows with a value never seen before that day (%)")
    percent(axes.xaxis)
    axes.legend(loc="lower right", fontsize=8)
    return figure
