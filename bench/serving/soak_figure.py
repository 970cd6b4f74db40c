"""The figure of the soak: memory and latency over the run."""

from collections.abc import Mapping
from math import nan
from pathlib import Path
from typing import Any


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Draw memory and latency of a soak against minutes, and write the figure to `path`."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from tasks.figures.style import ACCENT, INK, SOFT, use_style

    use_style()
    plt.rcParams["svg.hashsalt"] = path.suffix  # equal numbers give equal bytes
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    minutes = [sample["second"] / 60 for sample in found["samples"]]
    for name, line, color in (("rss", "--", SOFT), ("pss", "-", INK)):
        held = [sample[f"{name}_bytes"] / 2**20 for sample in found["samples"]]
        left.plot(minutes, held, line, color=color, label=f"all processes, {name.upper()}")
    early = found["pss_bytes"][0] / 2**20
    left.axhspan(early * 0.95, early * 1.05, color=ACCENT, alpha=0.15, linewidth=0)
    left.axhline(early, color=ACCENT, linewidth=1, label="PSS at a tenth of the run, ±5%")
    left.set(title=f"Memory, {found['n_swaps']} model swaps", xlabel="time (min)", ylabel="MiB")
    left.set_ylim(0, None)
    left.legend(fontsize=8)
    timeline = found["timeline"]
    minutes = [at["second"] / 60 for at in timeline]
    for name, line, color in (("max", ":", SOFT), ("p99", "--", INK), ("p50", "-", INK)):
        latency_ms = [at.get(f"{name}_ms", nan) for at in timeline]
        right.plot(minutes, latency_ms, line, color=color, label=name, linewidth=1)
    right.set(title=f"/predict among {found['rate']:g} requests/s", xlabel="time (min)")
    right.set(ylabel="latency from the due time (ms)", yscale="log")
    right.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
