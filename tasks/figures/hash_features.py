"""The figure of ``notebooks/hash_features.ipynb``: what each number of hash bits costs."""

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
