"""The style of every figure: one message each, labelled axes with units, readable in grey."""

from typing import Any

import matplotlib.pyplot as plt
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
