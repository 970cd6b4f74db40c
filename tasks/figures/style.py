"""The style of every figure: one message each, labelled axes with units, readable in grey."""

from functools import lru_cache
from typing import Any

import matplotlib.pyplot as plt
from matplotlib import font_manager
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

INK, ACCENT, SOFT = "#222222", "#c2410c", "#9ca3af"


_OTHER_SCRIPTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "WenQuanYi Zen Hei",
    "Noto Sans",
    "Arial Unicode MS",
)


@lru_cache
def _families() -> tuple[str, ...]:
    """Return Matplotlib's own font, and those of other scripts that this machine has."""
    installed = set(font_manager.get_font_names())
    return ("DejaVu Sans", *(name for name in _OTHER_SCRIPTS if name in installed))


@lru_cache
def _drawable() -> frozenset[int]:
    """Return the characters that one of the fonts can draw, by number."""
    found: set[int] = set()
    for name in _families():
        path = font_manager.findfont(font_manager.FontProperties(family=[name]))
        found.update(font_manager.get_font(path).get_charmap())
    return frozenset(found)


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
            "font.family": list(_families()),
        }
    )


def percent(axis: Any) -> None:
    """Label an axis in percent."""
    axis.set_major_formatter(PercentFormatter(xmax=1))


def dates(axes: Any) -> None:
    """Label the horizontal axis with a few days or hours."""
    axes.xaxis_date()
    locator = AutoDateLocator(minticks=3, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def rate(value: float) -> str:
    """Return a click rate in percent, with two digits that say something.

    Examples
    --------
    >>> rate(0.1698), rate(0.000493)
    ('17.0%', '0.049%')
    """
    return f"{value:.1%}" if value >= 0.01 or not value else f"{100 * value:.2g}%"


def empty(title: str, why: str) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    figure, axes = plt.subplots(figsize=(7, 1.2))
    axes.text(0.5, 0.5, why, ha="center", va="center", transform=axes.transAxes)
    axes.set(title=title, xticks=[], yticks=[])
    return figure


def short(value: Any, n_chars: int = 44) -> str:
    """Return a value as a label: on one line, cut where it is long, and never a formula between dollars.

    A character that no font of this machine has is its number: boxes could not be told apart.

    Examples
    --------
    >>> short("a" + chr(10) + "b" + chr(0) + "c")
    'a b c'
    >>> short("x" * 99, 4)
    'xxx…'
    """
    text = "".join(_drawn(c) for c in str(value)[: n_chars + 1])
    text = text if len(text) <= n_chars else text[: n_chars - 1] + "…"
    return text.replace("$", r"\$")


def _drawn(character: str) -> str:
    if not character.isprintable():
        return " "
    return character if ord(character) in _drawable() else f"U+{ord(character):04X}"
