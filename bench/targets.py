"""The target against each peer, and whether it was reached."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench.contest import Record


@dataclass(frozen=True)
class Target:
    """Minimum of rows per second of `ours` over `theirs`, at a loss no higher in the named qualities."""

    ours: str
    theirs: str
    ratio: float
    qualities: tuple[str, ...] = ("log_loss",)


TARGETS = (
    Target("ours_csv", "reference", 5.0),
    Target("ours_csv", "vw_text", 1.0, ("log_loss", "progressive_log_loss")),
    Target("ours_log", "vw_cache", 2.5, ("log_loss", "progressive_log_loss")),
    Target("ours_log", "sklearn", 2.5, qualities=()),
    Target("ours_features", "vw_cache", 4.0, ("log_loss", "progressive_log_loss")),
)


@dataclass(frozen=True)
class Outcome:
    """A target and the measured median of the ratios of each round, with their range."""

    target: Target
    ratio: float
    low: float
    high: float
    worse: tuple[str, ...]  # the qualities in which ours has the higher loss

    @property
    def is_reached(self) -> bool:
        """Whether the ratio is reached and no loss is higher."""
        return self.ratio >= self.target.ratio and not self.worse

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return asdict(self) | {"is_reached": self.is_reached}


def outcomes(records: Mapping[str, Record]) -> list[Outcome]:
    """Return the outcome of every target for which both sides ran."""
    return [
        _outcome(target, records[target.ours], records[target.theirs])
        for target in TARGETS
        if target.ours in records and target.theirs in records
    ]


def _outcome(target: Target, ours: Record, theirs: Record) -> Outcome:
    rounds = zip(ours.runs, theirs.runs, strict=True)
    ratios = [mine["rows_per_s"] / other["rows_per_s"] for mine, other in rounds]
    worse = tuple(
        name for name in target.qualities if not ours.quality[name] <= theirs.quality[name]
    )
    return Outcome(target, float(np.median(ratios)), min(ratios), max(ratios), worse)
