"""Means over folds, paired differences, and who is on the frontier."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.quality.contestants import CONTESTANTS

Summary = dict[str, Any]


def summary(found: Sequence[Mapping[str, Any]], *, order: Sequence[str]) -> list[Summary]:
    """Return for each log and contestant the means of its folds, and how it differs from the best of ours, paired by fold.

    ``difference`` is a mean over folds in nats, ``difference_se`` its standard error; below 0 is better than our best.
    """
    summaries: list[Summary] = []
    for log in dict.fromkeys(one["log"] for one in found):
        folds = sorted({one["fold"] for one in found if one["log"] == log})
        losses = {key: _column(found, log, folds, key, "log_loss") for key in order}
        ours = [key for key in order if CONTESTANTS[key].ours] or list(order)
        best = min(ours, key=lambda key: losses[key].mean())
        of_log: list[Summary] = []
        for key in order:
            apart = losses[key] - losses[best]
            distances = _column(found, log, folds, key, "distance")
            of_log.append({
                "log": log, "contestant": key, "n_folds": len(folds),
                "log_loss": float(losses[key].mean()),
                "distance": None if np.isnan(distances).any() else float(distances.mean()),
                "cpu_s": float(_column(found, log, folds, key, "cpu_s").mean()),
                "difference": float(apart.mean()),
                "difference_se": float(apart.std(ddof=1) / np.sqrt(len(folds))) if len(folds) > 1 else None,
            })  # fmt: skip
        on_it = frontier([(one["cpu_s"], one["log_loss"]) for one in of_log])
        summaries += [one | {"on_frontier": n in on_it} for n, one in enumerate(of_log)]
    return summaries


def frontier(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return which points no other one beats in both, by their first number.

    >>> frontier([(1.0, 0.40), (2.0, 0.41), (3.0, 0.39)])
    [0, 2]
    """
    on_it: list[int] = []
    for place in sorted(range(len(points)), key=lambda n: points[n]):
        if not on_it or points[place][1] < points[on_it[-1]][1]:
            on_it.append(place)
    return on_it


def quality_table(summaries: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table for each log, the lowest log loss first; the frontier is bold."""
    texts = []
    for log in dict.fromkeys(one["log"] for one in summaries):
        these = sorted((one for one in summaries if one["log"] == log), key=lambda one: one["log_loss"])  # fmt: skip
        lines = [
            f"| {log}, {these[0]['n_folds']} folds | log loss | distance | against our best | CPU s |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        lines += [_line(one) for one in these]
        texts.append("\n".join(lines))
    return "\n\n".join(texts)


def _line(one: Mapping[str, Any]) -> str:
    contestant = CONTESTANTS[one["contestant"]]
    label = f"ours, {contestant.label}" if contestant.ours else contestant.label
    label = f"**{label}**" if one["on_frontier"] else label
    distance = "" if one["distance"] is None else f"{one['distance']:.4f}"
    spread = "" if one["difference_se"] is None else f" ± {one['difference_se']:.4f}"
    apart = f"{one['difference']:+.4f}{spread}" if one["difference"] else ""
    return f"| {label} | {one['log_loss']:.4f} | {distance} | {apart} | {one['cpu_s']:.2f} |"


def _column(
    found: Sequence[Mapping[str, Any]], log: str, folds: Sequence[str], key: str, name: str
) -> np.ndarray:
    """Return a number of one contestant in each fold."""
    by_fold = {one["fold"]: one[name] for one in found if (one["log"], one["contestant"]) == (log, key)}  # fmt: skip
    return np.array([by_fold[fold] for fold in folds], dtype=float)
