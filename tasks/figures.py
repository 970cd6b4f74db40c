"""The notebooks' figures: one message each, labelled axes with units, readable in grey."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

INK, ACCENT, SOFT = "#222222", "#c2410c", "#9ca3af"
_MARKERS = ("o", "s", "^", "D", "v", "P")
_LINES = ("-", "--", ":", "-.")


def use_style() -> None:
    """Set the house style for every figure that follows."""
    plt.rcParams.update(
        {
            "figure.figsize": (8.0, 3.6),
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 12,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "axes.grid": True,
            "axes.grid.axis": "both",
            "grid.color": "#e5e7eb",
            "axes.axisbelow": True,
            "legend.frameon": False,
            "font.size": 10,
        }
    )


def _percent(axis: Any) -> None:
    axis.set_major_formatter(PercentFormatter(xmax=1))


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
    _percent(axes.yaxis)
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
    _percent(axes.xaxis)
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
    _percent(right.xaxis)
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
    _percent(axes.xaxis)
    axes.legend(loc="lower right", fontsize=8)
    return figure


def against_bits(
    table: pd.DataFrame, columns: Mapping[str, str], *, title: str, chosen: int
) -> Figure:
    """Draw each named column against the number of hash bits, the chosen one marked."""
    figure, panels = plt.subplots(1, len(columns), figsize=(3.4 * len(columns), 3.2))
    for axes, (column, label) in zip(np.atleast_1d(panels), columns.items(), strict=True):
        axes.plot(table.index, table[column], color=INK, marker="o")
        axes.axvline(chosen, color=ACCENT, linestyle="--", linewidth=1)
        axes.set(xlabel=f"hash bits (dashed: {chosen})", ylabel=label)
        axes.set_xticks(table.index)
        axes.ticklabel_format(axis="y", useOffset=False)
        if label.endswith("(%)"):
            _percent(axes.yaxis)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    return figure


def learning_curve(history: pd.DataFrame, *, title: str, best_epoch: int) -> Figure:
    """Draw training (progressive) and validation log loss against the epoch."""
    figure, axes = plt.subplots(figsize=(6, 3.2))
    axes.plot(
        history["epoch"],
        history["train_log_loss"],
        color=SOFT,
        marker="s",
        label="training rows, before each update",
    )
    axes.plot(
        history["epoch"], history["valid_log_loss"], color=INK, marker="o", label="validation rows"
    )
    axes.axvline(
        best_epoch, color=ACCENT, linestyle="--", linewidth=1, label=f"kept: epoch {best_epoch}"
    )
    axes.set(title=title, xlabel="epoch", ylabel="log loss (nats; lower is better)")
    axes.set_xticks(history["epoch"])
    axes.legend(fontsize=8)
    return figure


def importance(table: pd.DataFrame, *, title: str, column: str, label: str) -> Figure:
    """Draw one bar a field, largest on top."""
    table = table.sort_values(column)
    figure, axes = plt.subplots(figsize=(7, 0.24 * len(table) + 1.1))
    axes.barh(table["field"], table[column], color=INK)
    axes.set(title=title, xlabel=label)
    return figure


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
        _percent(axis)
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
