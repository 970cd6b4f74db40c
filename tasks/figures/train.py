"""The figures of ``notebooks/train.ipynb``: how a model learnt, and from what."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from tasks.figures.style import ACCENT, INK, SOFT


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
