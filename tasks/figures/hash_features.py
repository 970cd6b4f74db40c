"""What ``notebooks/hash_features.ipynb`` shows: the cost of each number of hash bits, and which to take."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tasks.figures.style import ACCENT, INK, percent


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
            percent(axes.yaxis)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    return figure


def answer(report: pd.DataFrame, *, chosen: int, n_rows: int) -> str:
    """Return how many bits are enough and why, in Markdown.

    `report` joins :func:`tasks.hashing.collisions.collision_report` and
    :func:`tasks.training.bits_trial.bits_trial`; `n_rows` is the number of rows the trial was limited to.
    """
    best = report["valid_log_loss"].idxmin()
    close = report.index[report["excess"] <= 2 * report["excess_se"]]
    enough = min([*close, best])
    here = report.loc[chosen]
    lines = [
        f"**{enough} bits are enough in this trial"
        + (", and chosen.**" if chosen == enough else f"; {chosen} are chosen.**"),
        "",
        f"- {int(here['n_tokens']):,} distinct tokens meet {2**chosen:,} weights at {chosen} bits: "
        f"{here['colliding_share']:.1%} of them share a weight, and so do {here['colliding_rows_share']:.1%} "
        "of the tokens that rows carry.",
        f"- The trial (one FTRL epoch, up to {n_rows:,} rows before validation) has its lowest log loss, "
        f"{report.loc[best, 'valid_log_loss']:.4f}, at {best} bits. {_enough_why(report, enough, best)}",
    ]
    if chosen < enough:
        loss, error = here["excess"], here["excess_se"]
        lines.append(
            f"- At {chosen} bits log loss is {loss:.5f} (± {2 * error:.5f}) above the best: "
            f"set `hash.bits` to {enough}."
        )
    elif chosen > enough:
        lines.append(
            f"- The {chosen - enough} further bits cost memory ({_size(2**chosen)} instead of {_size(2**enough)} "
            "of weights) and leave room for the tokens of a longer log: the trial makes collisions look "
            "cheaper than they are on all rows."
        )
    return "\n".join(lines)


def _enough_why(report: pd.DataFrame, enough: int, best: int) -> str:
    if best == report.index.min():
        return "No smaller number was tried."
    if enough == best:
        return "No smaller number comes within two standard errors of it."
    loss, error = report.loc[enough, ["excess", "excess_se"]]
    return f"{enough} bits are {loss:.5f} (± {2 * error:.5f}) above it, which is within the noise of these rows."


def _size(n_weights: int) -> str:
    n_bytes = 4 * n_weights
    return f"{n_bytes / 2**20:,.0f} MB" if n_bytes >= 2**20 else f"{n_bytes / 2**10:,.0f} KB"
