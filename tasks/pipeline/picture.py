"""The pipeline as a picture: tasks from left to right, each joined to what it needs; drawn without a network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_WIDTH, _HEIGHT, _PAD = 1.0, 0.36, 0.04  # of a box, in units of the grid
_CURRENT, _OUTDATED = "#e8f0e8", "#fff0c8"


def draw(dag: Any, path: str | Path) -> None:
    """Draw a rendered pipeline; the suffix of `path` sets the format (png, svg, pdf).

    Tasks that the next build would run are yellow, with a dashed frame. An arrow that others imply is left out.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    needs = reduced({name: list(dag[name].upstream) for name in dag})
    places = layout(needs)
    outdated = {name for name in dag if dag[name].exec_status.name != "Skipped"}
    columns = 1 + max(x for x, _ in places.values())
    rows = 1 + max(y for _, y in places.values()) - min(y for _, y in places.values())
    figure = Figure(figsize=(1.75 * columns + 0.4, 0.75 * rows + 0.9), layout="constrained")
    axes = figure.add_subplot()
    for name, (x, y) in places.items():
        for other in needs[name]:
            begin = (places[other][0] * 1.5 + _WIDTH / 2 + _PAD, places[other][1])
            arrow = FancyArrowPatch(
                begin, (x * 1.5 - _WIDTH / 2 - _PAD, y), arrowstyle="-|>", mutation_scale=9, color="0.45",
                connectionstyle="arc3,rad=0", shrinkA=0, shrinkB=0, lw=0.9,
            )  # fmt: skip
            axes.add_patch(arrow)
    for name, (x, y) in places.items():
        is_outdated = name in outdated
        axes.add_patch(
            FancyBboxPatch(
                (x * 1.5 - _WIDTH / 2, y - _HEIGHT / 2), _WIDTH, _HEIGHT, boxstyle=f"round,pad={_PAD}",
                facecolor=_OUTDATED if is_outdated else _CURRENT, edgecolor="0.3",
                linestyle="--" if is_outdated else "-", lw=1,
            )
        )  # fmt: skip
        axes.text(x * 1.5, y, name, ha="center", va="center", fontsize=8)
    axes.set_xlim(-0.7, (columns - 1) * 1.5 + 0.7)
    ys = [y for _, y in places.values()]
    axes.set_ylim(max(ys) + 0.5, min(ys) - 0.5)
    axes.set_axis_off()
    n_run = (
        f"{len(outdated)} of {len(needs)} tasks would run (yellow)" if outdated else "up to date"
    )
    axes.set_title(f"pipeline.yaml: {n_run}", fontsize=9, loc="left")
    figure.savefig(path, dpi=160)


def reduced(needs: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return what each task needs, without what it needs through another one too.

    Examples
    --------
    >>> reduced({"a": [], "b": ["a"], "c": ["a", "b"]})
    {'a': [], 'b': ['a'], 'c': ['b']}
    """

    def above(name: str) -> set[str]:
        return {*needs[name]}.union(*(above(other) for other in needs[name]))

    implied = {name: set[str]().union(*(above(one) for one in needs[name])) for name in needs}
    return {name: [one for one in needs[name] if one not in implied[name]] for name in needs}


def layout(needs: Mapping[str, Sequence[str]]) -> dict[str, tuple[int, float]]:
    """Return column and row of each task: one column right of all it needs, rows centered around zero.

    Examples
    --------
    >>> layout({"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]})
    {'a': (0, 0.0), 'b': (1, -0.5), 'c': (1, 0.5), 'd': (2, 0.0)}
    """
    columns: dict[str, int] = {}

    def column(name: str) -> int:
        if name not in columns:
            columns[name] = 1 + max((column(other) for other in needs[name]), default=-1)
        return columns[name]

    levels: dict[int, list[str]] = {}
    for name in needs:
        levels.setdefault(column(name), []).append(name)
    return {
        name: (level, row - (len(names) - 1) / 2)
        for level, names in sorted(levels.items())
        for row, name in enumerate(names)
    }
