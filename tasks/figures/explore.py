"""What ``notebooks/explore.ipynb`` shows: click rates, what the fields hold, and what that asks of a model."""

from datetime import date
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from tasks.figures.style import ACCENT, INK, SOFT, empty, percent, rate, short


def _short(value: Any) -> str:
    """Return a tick label: month and day of a date, anything else as it is."""
    return f"{value:%m-%d}" if isinstance(value, date) else short(value, 12)


def rate_over(table: pd.DataFrame, *, title: str, x_label: str, overall: float) -> Figure:
    """Draw a click rate with its interval along an ordered axis, the overall rate beside it."""
    figure, axes = plt.subplots()
    x = np.arange(len(table))
    axes.fill_between(x, table["low"], table["high"], color=SOFT, alpha=0.5, label="95% interval")
    axes.plot(x, table["ctr"], color=INK, marker="o", markersize=3, label="click rate")
    axes.axhline(
        overall, color=ACCENT, linestyle="--", linewidth=1, label=f"all rows: {rate(overall)}"
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
        f"{short(name)}  ({share:.1%})"
        for name, share in zip(table.index, table["share"], strict=True)
    ]
    axes.set_yticks(y, labels)
    axes.set(title=short(title, 80), xlabel="click rate (%); dashed: all rows")
    percent(axes.xaxis)
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    return figure


N_SHOWN = 60  # bars at most; a figure of 2,000 is no figure


def field_sizes(table: pd.DataFrame, *, title: str) -> Figure:
    """Draw the number of distinct values of each field (log scale) beside its missing share."""
    table, title = _largest(table.sort_values("n_distinct"), title)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 0.26 * len(table) + 1), sharey=True)
    y = np.arange(len(table))
    most = max(table["n_distinct"].max(), 1)
    left.barh(y, table["n_distinct"], color=INK)
    left.set_xscale("log")
    left.set_xlim(0.7, 1.5 * most**1.25)
    left.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    left.xaxis.set_minor_formatter(NullFormatter())
    left.set(title=title, xlabel="distinct values (log scale)")
    left.set_yticks(y, [short(name) for name in table.index])
    for at, value in zip(y, table["n_distinct"], strict=True):
        left.text(max(value, 0.7) * 1.15, at, f"{value:,}", va="center", fontsize=8)
    right.barh(y, table["missing_share"], color=SOFT)
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
    y = np.arange(len(mean))
    axes.barh(y, mean, color=SOFT, label="mean of all days")
    axes.plot(
        table.loc[mean.index].iloc[:, -1],
        y,
        "D",
        color=ACCENT,
        label=f"last day ({table.columns[-1]})",
    )
    axes.set_yticks(y, [short(name) for name in mean.index])
    axes.set(title=title, xlabel="rows with a value never seen before that day (%)")
    percent(axes.xaxis)
    axes.legend(loc="lower right", fontsize=8)
    return figure


def gains(table: pd.DataFrame, *, title: str) -> Figure:
    """Draw how much each field alone lowers log loss on later rows (:mod:`tasks.logs.field_gain`)."""
    table, title = _largest(table.dropna().sort_values("gain"), title)
    if table.empty:
        return empty(title, "too few rows to learn from some and judge on others")
    figure, axes = plt.subplots(figsize=(8, 0.25 * len(table) + 1.1))
    colors = [INK if gain > 0 else ACCENT for gain in table["gain"]]
    y = np.arange(len(table))
    axes.barh(y, table["share"], color=colors)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(y, [short(name) for name in table.index])
    axes.set(title=title, xlabel="log loss below that of the overall click rate (%)")
    percent(axes.xaxis)
    return figure


def _largest(table: pd.DataFrame, title: str) -> tuple[pd.DataFrame, str]:
    """Return the last rows of a sorted table, and a title that says so if some are left out."""
    if len(table) <= N_SHOWN:
        return table, title
    return table.tail(N_SHOWN), f"{title}: the largest {N_SHOWN} of {len(table):,}"


def answer(
    *,
    overall: float,
    n_rows: int,
    gain: pd.DataFrame,
    new_values: pd.DataFrame,
    sizes: pd.DataFrame,
) -> str:
    """Return what is new tomorrow, which fields matter, and what that asks of a model, in Markdown."""
    lines = [
        f"**{rate(overall)} of {n_rows:,} rows were clicked. {_which_matter(gain)}**",
        "",
        f"- {_what_is_new(new_values)}",
        f"- {_what_size(sizes, n_rows)}",
    ]
    idle = gain.index[gain["gain"] <= 0]
    if len(idle):
        lines.append(
            f"- Alone, {_names(idle, 3)} predict{'s' * (len(idle) == 1)} later clicks no better than the overall "
            "click rate; in combination they still may."
        )
    return "\n".join(lines)


def _which_matter(gain: pd.DataFrame) -> str:
    useful = gain[gain["share"] >= 0.0005].head(3)  # what shows with one decimal
    if useful.empty:
        return "No field alone predicts later clicks noticeably."
    named = [f"{field} (by {share:.1%})" for field, share in useful["share"].items()]
    return f"The fields that, each alone, lower log loss on later rows most: {', '.join(named)}."


def _what_is_new(new_values: pd.DataFrame) -> str:
    if new_values.empty:
        return "The log has a single day, so it cannot say what is new tomorrow."
    day = new_values.columns[-1]
    last = new_values[day].sort_values(ascending=False)
    if not last.iloc[0] > 0:
        return f"On the last day ({day}) every value of every field had been seen before."
    named = [f"{field} {share:.0%}" for field, share in last.head(3).items() if share > 0]
    return (
        f"New on the last day ({day}), as a share of its rows: {', '.join(named)}. "
        "A model must learn online and be judged by time."
    )


def _what_size(sizes: pd.DataFrame, n_rows: int) -> str:
    widest = sizes["n_distinct"].idxmax()
    return (
        f"{len(sizes)} fields have {sizes['n_distinct'].sum():,} distinct values in the sample of {n_rows:,} rows, "
        f"{sizes.loc[widest, 'n_distinct']:,} of them of {widest}: a column for each would grow with the log, hashing keeps the number of weights fixed."
    )


def _names(names: pd.Index, n_shown: int) -> str:
    shown = ", ".join(map(str, names[:n_shown]))
    return shown + (f" and {len(names) - n_shown} more" if len(names) > n_shown else "")
