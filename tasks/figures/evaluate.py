"""The figures of ``notebooks/evaluate.ipynb``: models against each other."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from tasks.figures.style import ACCENT, INK, SOFT, percent

_MARKERS = ("o", "s", "^", "D", "v", "P")
_LINES = ("-", "--", ":", "-.")


def calibration(curves: Mapping[str, pd.DataFrame], *, title: str) -> Figure:
    """Draw observed click rate against mean prediction, one line a model, both on log axes."""
    figure, axes = plt.subplots(figsize=(5.2, 4.4))
    for number, (name, curve) in enumerate(curves.items()):
        shown = curve[curve["y_mean"] > 0]
        axes.plot(
            shown["p_mean"], shown["y_mean"], marker=_MARKERS[number % 6], linestyle=_LINES[number % 4],
            color=(INK, ACCENT, SOFT)[number % 3], markersize=5, label=name,
        )  # fmt: skip
    ends = [
        min(c["p_mean"].min() for c in curves.values()),
        max(c["p_mean"].max() for c in curves.values()),
    ]
    axes.plot(ends, ends, color="black", linewidth=0.8, linestyle=":", label="perfect")
    axes.set(
        title=title,
        xlabel="mean predicted click probability (%)",
        ylabel="observed click rate (%)",
        xscale="log",
        yscale="log",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0]))
        axis.set_minor_locator(NullLocator())
        percent(axis)
    axes.legend(fontsize=8)
    return figure


def compare(
    intervals: pd.DataFrame,
    *,
    title: str,
    label: str,
    reference: float | None = None,
    reference_label: str = "",
) -> Figure:
    """Draw one dot with its interval a model; `reference` is a line to hold them against."""
    figure, axes = plt.subplots(figsize=(7, 0.4 * len(intervals) + 1.3))
    y = np.arange(len(intervals))[::-1]
    reach = [intervals["value"] - intervals["low"], intervals["high"] - intervals["value"]]
    axes.errorbar(intervals["value"], y, xerr=reach, fmt="o", color=INK, ecolor=SOFT, elinewidth=4)
    for row, value in zip(y, intervals["value"], strict=True):
        axes.annotate(
            f"{value:.4f}",
            (value, row),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    if reference is not None:
        axes.axvline(reference, color=ACCENT, linestyle="--", linewidth=1)
        axes.text(reference, -0.5, f"  {reference_label} {reference:.4f}", color=ACCENT, fontsize=8)
    axes.set_yticks(y, intervals.index)
    axes.set_ylim(-0.6, len(intervals) - 0.2)
    axes.set(title=title, xlabel=label)
    return figure


def slice_ratios(table: pd.DataFrame, *, title: str, bounds: Sequence[float]) -> Figure:
    """Draw the calibration ratio of each slice (rows: ``label``, ``ratio``, ``n_rows``) against its bounds."""
    figure, axes = plt.subplots(figsize=(7.5, 0.26 * len(table) + 1.3))
    y = np.arange(len(table))[::-1]
    inside = table["ratio"].between(*bounds)
    axes.axvspan(*bounds, color="#f3f4f6", label="allowed by the gates")
    axes.axvline(1, color="black", linewidth=0.8, linestyle=":")
    axes.plot(table["ratio"], y, "o", color=INK, label="calibration ratio")
    axes.plot(
        table["ratio"][~inside], y[~inside], "D", color=ACCENT, markersize=8, label="out of bounds"
    )
    axes.set_yticks(
        y, [f"{name}  ({n:,})" for name, n in zip(table["label"], table["n_rows"], strict=True)]
    )
    axes.set(title=title, xlabel="mean prediction / click rate")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
