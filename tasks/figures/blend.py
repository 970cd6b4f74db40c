"""What ``notebooks/blend.ipynb`` shows: how much each part counts, and what the mean is worth."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tasks.evaluation.metrics import log_loss
from tasks.figures.style import ACCENT, INK, SOFT
from tasks.models.scoring import sigmoid

BLENDED, EQUAL = "all of them", "equal weights"  # no model has such a name


def losses(
    weights: Mapping[str, float], logits: np.ndarray, y_true: np.ndarray, weight: np.ndarray | None
) -> pd.DataFrame:
    """Return ``model``, ``weight`` (NaN where it has none) and validation ``log_loss`` (nats), the lowest first.

    A row per part, one for equal weights, and one for the blend; `logits` are ``(n_parts, n_rows)``.
    """
    own = np.array(list(weights.values()))
    rows = [(name, w, one) for (name, w), one in zip(weights.items(), logits, strict=True)]
    rows += [(EQUAL, np.nan, logits.mean(axis=0)), (BLENDED, np.nan, own @ logits)]
    found = [(name, w, log_loss(y_true, sigmoid(logit), weight)) for name, w, logit in rows]
    table = pd.DataFrame(found, columns=["model", "weight", "log_loss"])
    return table.sort_values("log_loss", ignore_index=True)


def compared(table: pd.DataFrame, *, title: str) -> Figure:
    """Draw the validation log loss of each part, of equal weights and of the blend, which stands out."""
    table = table.iloc[::-1]
    figure, axes = plt.subplots(figsize=(7, 0.4 * len(table) + 1.1))
    colors = {BLENDED: ACCENT, EQUAL: SOFT}
    y = np.arange(len(table))
    axes.scatter(
        table["log_loss"], y, s=60, color=[colors.get(name, INK) for name in table["model"]]
    )
    for at, row in zip(y, table.itertuples(), strict=True):
        note = "" if np.isnan(row.weight) else f"weight {row.weight:.2f}"
        axes.annotate(note, (row.log_loss, at), (8, 0), textcoords="offset points", va="center")
    axes.set_yticks(y, table["model"])
    axes.margins(x=0.25, y=0.12)
    axes.grid(axis="y", visible=True)
    axes.set(title=title, xlabel="validation log loss (nats; lower is better)")
    return figure


def answer(name: str, table: pd.DataFrame) -> str:
    """Return whether the blend is better than its best part, in Markdown."""
    loss = table.set_index("model")["log_loss"]
    parts = loss.drop([BLENDED, EQUAL])
    best, gain = parts.idxmin(), parts.min() - loss[BLENDED]
    weights = table.set_index("model")["weight"].drop([BLENDED, EQUAL])
    idle = [str(part) for part in weights.index[weights == 0]]
    said = (
        f"{gain:.4f} below that of its best part, {best}"
        if gain > 5e-5
        else f"no better than its best part, {best}"
    )
    lines = [f"**{name}: validation log loss {loss[BLENDED]:.4f}, {said}.**", ""]
    lines += [
        f"- Its weights are {', '.join(f'{part} {w:.2f}' for part, w in weights.items())}.",
        "- They were learned on these very rows, so what the blend is worth shows on the test rows, in `evaluate`.",
    ]
    lines += [
        f"- {part} adds nothing to the others; leave it out, and requests cost less."
        for part in idle
    ]
    return "\n".join(lines)
