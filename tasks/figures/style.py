"""The style of every figure: one message each, labelled axes with units, readable in grey."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

INK, ACCENT, SOFT = "#222222", "#c2410c", "#9ca3af"


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


def percent(axis: Any) -> None:
    """Label an axis in percent."""
    axis.set_major_formatter(PercentFormatter(xmax=1))


def empty(title: str, why: str) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    figure, axes = plt.subplots(figsize=(7, 1.2))
    axes.text(0.5, 0.5, why, ha="center", va="center", transform=axes.transAxes)
    axes.set(title=title, xticks=[], yticks=[])
    return figure


def short(value: Any, n_chars: int = 44) -> str:
    """Return a value as a label: printable, on one line, cut where it is long, and never a formula between dollars.

    Examples
    --------
    >>> short("a" + chr(10) + "b" + chr(0) + "c")
    'a b c'
    >>> short("x" * 99, 4)
    'xxx…'
    """
    text = "".join(c if c.isprintable() else " " for c in str(value))
    text = text if len(text) <= n_chars else text[: n_chars - 1] + "…"
    return text.replace("$", r"\$")
