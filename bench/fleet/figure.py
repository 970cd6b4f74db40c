"""The figure of the simulated fleet: what a target costs in failures, and what it needs in tasks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MARKS = (("o", "-"), ("s", "--"), ("^", "-"), ("D", ":"))
_FLOOR = 1e-5  # smaller shares, 0 among them, are drawn here


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Draw failed requests and the reserve of tasks against the target of scaling, and write the figure to `path`."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from tasks.figures.style import ACCENT, INK, SOFT, percent, use_style

    use_style()
    plt.rcParams["svg.hashsalt"] = path.suffix  # equal numbers give equal bytes
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained")
    titles = ("A day with bursts", "The hour after a zone is lost", "Tasks at the peak")
    labels = (
        "requests dropped or late",
        "dropped or late because of it",
        "tasks beyond those kept busy",
    )
    rates = sorted({one["peak_per_s"] for one in found["fleets"]})
    colors = (INK, INK, INK, SOFT)
    for rate, (marker, line), color in zip(rates, _MARKS, colors, strict=False):
        records = [one for one in found["fleets"] if one["peak_per_s"] == rate]
        targets = [one["utilisation"] for one in records]
        style = {
            "marker": marker,
            "linestyle": line,
            "color": color,
            "markersize": 4,
            "linewidth": 1,
        }
        for axes, name in zip(panels, ("calm_share", "lost_share", "reserve"), strict=True):
            low = -1 if name == "reserve" else _FLOOR
            values = [max(one[name], low) for one in records]
            axes.plot(targets, values, label=f"{rate:,.0f}/s", **style)
    for axes, title, label in zip(panels, titles, labels, strict=True):
        axes.set(title=title, xlabel="busy at which scaling aims", ylabel=label)
        percent(axes.xaxis)
    for axes in panels[:2]:
        axes.set(yscale="log", ylim=(_FLOOR / 1.5, 0.2))
        axes.set_yticks([1e-5, 1e-4, 1e-3, 1e-2, 1e-1], ["0.001%", "0.01%", "0.1%", "1%", "10%"])
        axes.minorticks_off()
        axes.axhline(found["assumed"]["allowed_share"], color=ACCENT, linewidth=1)
    panels[0].text(0.31, 1.2e-3, "allowed", color=ACCENT, fontsize=8)
    panels[2].set_ylim(0, 4)
    percent(panels[2].yaxis)
    panels[2].legend(fontsize=8, title="peak", title_fontsize=8)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
