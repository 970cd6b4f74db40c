"""The figure of the scale bench: time and memory against rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MARKS = {"ingest": ("o", "-"), "hash": ("s", "--"), "train": ("^", ":"), "evaluate": ("D", "-.")}


def draw(
    found: Mapping[int, Mapping[str, Mapping[str, Any]]], path: Path, *, max_peak_bytes: float
) -> None:
    """Draw seconds and peak memory of each stage against rows, and write the figure to `path`."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from tasks.figures.style import ACCENT, INK, use_style

    use_style()
    plt.rcParams["svg.hashsalt"] = path.suffix  # equal numbers give equal bytes
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    sizes = sorted(found)
    for stage, (marker, line) in _MARKS.items():
        style = {"marker": marker, "linestyle": line, "color": INK, "markersize": 5, "label": stage}
        rows = [n_rows / 1e6 for n_rows in sizes]
        left.plot(rows, [found[n_rows][stage]["wall_s"] for n_rows in sizes], **style)
        peaks = [found[n_rows][stage]["peak_rss_bytes"] / 2**30 for n_rows in sizes]
        right.plot(rows, peaks, **style)
    left.set(title="Time of each stage", xlabel="rows (million)", ylabel="time (s)")
    left.set(xscale="log", yscale="log")
    left.yaxis.set_major_formatter("{x:g}")
    right.axhline(max_peak_bytes / 2**30, color=ACCENT, linewidth=1, label="allowed")
    right.set(
        title="Peak memory of each stage", xlabel="rows (million)", ylabel="peak memory (GiB)"
    )
    right.set(xscale="log", ylim=(0, None))
    for axes in (left, right):
        axes.set_xticks(rows, [f"{millions:g}" for millions in rows])
        axes.minorticks_off()
    right.legend(fontsize=8, ncols=3, loc=(0.03, 0.66))
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
