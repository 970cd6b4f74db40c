"""The figure of the quality bench: log loss against processor time, and the frontier."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.quality.contestants import CONTESTANTS
from bench.quality.tables import frontier

_PEERS = "peers; the line is the frontier, which nobody beats in both"
_TITLES = {"simulator": "Simulated logs", "first hour": "One hour of a real log"}


def draw(summaries: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw a panel for each log, and write the figure to `path`; equal numbers give equal bytes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from tasks.figures.style import use_style

    use_style()
    plt.rcParams["svg.hashsalt"] = path.suffix
    logs = list(dict.fromkeys(one["log"] for one in summaries))
    figure, panels = plt.subplots(1, len(logs), figsize=(5.6 * len(logs), 4.4), squeeze=False)
    for axes, log in zip(panels[0], logs, strict=True):
        _panel(axes, [one for one in summaries if one["log"] == log])
        axes.set(title=_TITLES[log], xlabel="processor time of one training (s)")
    panels[0][0].set_ylabel("log loss of the test rows (nats)")
    handles = [panels[0][0].plot([], [], linestyle="", label=name, **look)[0] for name, look in _looks().items()]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def _looks() -> dict[str, dict[str, Any]]:
    from tasks.figures.style import ACCENT, INK

    return {
        "ours": {"marker": "o", "color": ACCENT, "markersize": 7},
        _PEERS: {"marker": "s", "color": INK, "markersize": 7, "markerfacecolor": "white"},
    }


def _panel(axes: Any, these: Sequence[Mapping[str, Any]]) -> None:
    from tasks.figures.style import SOFT

    points = [(one["cpu_s"], one["log_loss"]) for one in these]
    edge = [points[place] for place in frontier(points)]
    last = (2 * max(cpu_s for cpu_s, _ in points), edge[-1][1])
    axes.step(*zip(*edge, last, strict=True), where="post", color=SOFT, linewidth=1.2)
    for (cpu_s, loss), one in zip(points, these, strict=True):
        contestant = CONTESTANTS[one["contestant"]]
        look = _looks()["ours" if contestant.ours else _PEERS]
        axes.plot(cpu_s, loss, linestyle="", **look)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.12, y=0.1)
    _label(axes, points, these)


def _label(axes: Any, points: Sequence[tuple[float, float]], these: Sequence[Mapping[str, Any]]) -> None:  # fmt: skip
    """Write names beside points; one that would lie on another's goes to the other side, or below."""
    axes.figure.canvas.draw()
    taken: list[Any] = [axes.transData.transform(point) for point in points]
    boxes: list[Any] = []
    for point, one in sorted(zip(points, these, strict=True), key=lambda pair: pair[0][1]):
        contestant = CONTESTANTS[one["contestant"]]
        weight = "bold" if contestant.ours else "normal"
        for shift, side in _PLACES:
            text = axes.annotate(
                contestant.label, point, shift, textcoords="offset points",
                fontsize=8, ha=side, va="center", fontweight=weight,
            )  # fmt: skip
            box = text.get_window_extent().padded(1)
            is_inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
            if is_inside and not any(box.overlaps(b) for b in boxes) and not any(box.contains(*t) for t in taken):  # fmt: skip
                break
            text.remove()
        else:
            text = axes.annotate(contestant.label, point, (7, 0), textcoords="offset points", fontsize=8, va="center")  # fmt: skip
            box = text.get_window_extent()
        boxes.append(box)


_PLACES = (
    ((6, 8), "left"), ((-6, 8), "right"), ((7, 0), "left"), ((-7, 0), "right"), ((0, 10), "center"),
    ((0, -10), "center"), ((8, -10), "left"), ((-8, -10), "right"), ((0, 20), "center"), ((0, -20), "center"),
    ((-4, -20), "right"), ((4, -20), "left"), ((0, -32), "center"), ((0, 32), "center"),
)  # fmt: skip
