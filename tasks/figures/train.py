"""What ``notebooks/train.ipynb`` shows: how a model learned, how well, and from what."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tasks.figures.style import ACCENT, INK, SOFT, rate, short
from tasks.training.history import History

N_SHOWN = 60  # bars at most


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
    """Draw one bar per field, largest on top, with its interval where the table has one; fields that harm stand out."""
    if len(table) > N_SHOWN:
        title = f"{title}: the largest {N_SHOWN} of {len(table):,}"
    table = table.sort_values(column).tail(N_SHOWN)
    figure, axes = plt.subplots(figsize=(7, 0.24 * len(table) + 1.1))
    y = np.arange(len(table))
    harms = table["harms"] if "harms" in table else np.zeros(len(table), dtype=bool)
    axes.barh(y, table[column], color=np.where(harms, ACCENT, INK))
    if {"low", "high"} <= {*table}:
        reach = [table[column] - table["low"], table["high"] - table[column]]
        axes.errorbar(table[column], y, xerr=reach, fmt="none", ecolor=SOFT, elinewidth=2)
    axes.set_yticks(y, [short(name) for name in table["field"]])
    axes.set(title=title, xlabel=label)
    return figure


def weights(table: pd.DataFrame, *, title: str) -> Figure:
    """Draw the weights of :func:`tasks.evaluation.top_values.top_values`, rare values in grey."""
    table = table.iloc[::-1]
    figure, axes = plt.subplots(figsize=(8, 0.27 * max(len(table), 2) + 1.1))
    colors = [SOFT if "rare" in note else INK for note in table["note"]]
    axes.barh(range(len(table)), table["weight"], color=colors)
    axes.axvline(0, color="black", linewidth=0.8)
    names = (table["field"] + " = " + table["value"]).map(short)
    labels = [f"{name}  ({n:,})" for name, n in zip(names, table["n_rows"], strict=True)]
    axes.set_yticks(range(len(table)), labels)
    if table.empty:
        note = "this kind of model has no weight per value"
        axes.text(0.5, 0.5, note, ha="center", va="center", transform=axes.transAxes)
    axes.set(title=title, xlabel="weight: added to the logit of a row with this value (grey: rare)")
    return figure


def answer(
    name: str,
    *,
    history: History,
    metrics: Mapping[str, float],
    importance: pd.DataFrame,
    top: pd.DataFrame,
    max_epochs: int,
    notes: Sequence[str] = (),
) -> str:
    """Return how well a model predicts and what it learned, in Markdown; `notes` are those of its search."""
    lines = [
        f"**{name}: {_quality(metrics)}**",
        "",
        f"- {_epochs(history, max_epochs)}",
        f"- Over the validation rows the mean prediction is {_ratio(metrics['calibration_ratio'])} the click rate.",
        *_fields(importance),
        *_values(top),
        *(f"- {note}" for note in notes),
    ]
    return "\n".join(lines)


def _quality(metrics: Mapping[str, float]) -> str:
    loss, entropy = metrics["log_loss"], metrics["normalized_entropy"]
    if not np.isfinite(entropy):
        return f"validation log loss {loss:.4f}; the rows hold one class only, so there is nothing to compare it with."
    if entropy < 1:
        return f"validation log loss {loss:.4f}, {1 - entropy:.1%} below that of knowing only the click rate."
    return f"validation log loss {loss:.4f}, no better than knowing only the click rate ({entropy - 1:.1%} above it)."


def _epochs(history: History, max_epochs: int) -> str:
    n_done, best = len(history.epochs), history.best_epoch
    text = f"Epoch {best} of {n_done} is kept. "
    if best < n_done:
        return (
            text + f"After it validation log loss did not improve on {history.best_log_loss:.4f}."
        )
    if n_done == 1:
        return text + f"The limit was {max_epochs} epoch{'s' * (max_epochs > 1)}."
    before = history.epochs[-2].valid_log_loss
    return text + (
        f"It still improved on the one before ({before:.4f} to {history.best_log_loss:.4f}) when the limit of "
        f"{max_epochs} epochs was reached: more `max_epochs` may help."
    )


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f} times" if np.isfinite(ratio) else "not comparable with"


def _fields(importance: pd.DataFrame) -> list[str]:
    useful = importance[importance["importance"] > 0]
    if useful.empty:
        return ["- No field lowers validation log loss."]
    named = [f"`{row.field}` ({row.importance:.4f})" for row in useful.head(3).itertuples()]
    line = f"- It relies most on {', '.join(named)}; in brackets, how much log loss rises without the field."
    n_idle = len(importance) - len(useful)
    return [line + (f" {n_idle} of {len(importance)} fields do not help." if n_idle else "")]


def _values(top: pd.DataFrame) -> list[str]:
    common = top[~top["note"].str.contains("rare", na=False)]
    lines = []
    for verb, rows in (
        ("raises", common[common["weight"] > 0].head(1)),
        ("lowers", common[common["weight"] < 0].tail(1)),
    ):
        for row in rows.itertuples():
            lines.append(
                f"- Among values that are not rare, `{row.field} = {row.value}` {verb} the odds of a click most: "
                f"times {row.odds:.2f} ({row.n_rows:,} rows, {rate(row.click_rate)} clicked)."
            )
    if top.empty:
        return ["- No value has a weight."]
    return lines or ["- The largest weights all belong to rare values."]
