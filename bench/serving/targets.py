"""The targets of the serving bench, and whether they were reached."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench.serving.rounds import Record
from bench.serving.workload import N_CANDIDATES


@dataclass(frozen=True)
class Target:
    """A figure and its bound: a minimum, a maximum, or none (shown for orientation)."""

    label: str
    minimum: float | None = None
    maximum: float | None = None
    form: str = ",.1f"

    def allows(self, value: float) -> bool:
        """Return whether a value is within the bound; NaN never is."""
        low, high = self.minimum, self.maximum
        return (low is None or value >= low) and (high is None or value <= high)


REFERENCE = Target("requests/s: ours / reference's predictor", minimum=4)
TYPED = Target("requests/s: ours / plain typed BentoML endpoint", minimum=4)
TUNED = Target("requests/s: ours / typed endpoint, tuned")
P99 = Target("p99 of /predict at a constant rate, ms", maximum=10, form=".2f")
FLOOR = Target("p99: ours / empty route", form=".2f")
FAILED = Target("failed requests at a constant rate", maximum=0, form=",.0f")
DROPPED = Target("dropped exposures", maximum=0, form=",.0f")
RANKED = Target(f"scored candidates/s, /rank with {N_CANDIDATES}", minimum=200_000, form=",.0f")
RANK_P99 = Target("p99: /rank / /predict, same rate", maximum=5, form=".2f")
SCORING = Target("scoring one impression in process, us", maximum=25, form=".1f")
SOAK_FAILED = Target("failed requests", maximum=0, form=",.0f")
SOAK_DROPPED = Target("dropped exposures", maximum=0, form=",.0f")
SOAK_SWAPS = Target("model swaps counted / performed", minimum=1, form=".2f")
SOAK_MEMORY = Target("memory (PSS) at the end / at a tenth of the run", maximum=1.05, form=".3f")


@dataclass(frozen=True)
class Outcome:
    """A target and what was reached: the median over the rounds, and their range."""

    target: Target
    value: float
    low: float
    high: float

    @property
    def is_reached(self) -> bool:
        """Whether the median is within the bound."""
        return self.target.allows(self.value)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return asdict(self) | {"is_reached": self.is_reached}


def outcome(target: Target, values: Sequence[float]) -> Outcome:
    """Return the outcome of one value per round."""
    return Outcome(target, float(np.median(values)), float(min(values)), float(max(values)))


def outcomes(records: Mapping[str, Record], scoring: Mapping[str, float]) -> list[Outcome]:
    """Return the outcome of each target whose sides were measured."""
    found = []
    ours = records.get("ours", Record())
    for target, key in ((REFERENCE, "reference"), (TYPED, "typed"), (TUNED, "tuned")):
        if key in records and ours.saturated:
            found.append(_ratio(target, ours.saturated, records[key].saturated, "requests_per_s"))
    if ours.paced:
        found.append(outcome(P99, [run["p99_ms"] for run in ours.paced]))
    if "floor" in records and ours.paced:
        found.append(_ratio(FLOOR, ours.paced, records["floor"].paced, "p99_ms"))
    if ours.paced:
        n_failed = sum(run["n_failed"] for run in [*ours.paced, *ours.rank_paced])
        found.append(outcome(FAILED, [n_failed]))
    if ours.n_dropped is not None:
        found.append(outcome(DROPPED, [ours.n_dropped]))
    if ours.rank_saturated:
        rates = [run["requests_per_s"] * N_CANDIDATES for run in ours.rank_saturated]
        found.append(outcome(RANKED, rates))
    if ours.rank_paced:
        found.append(_ratio(RANK_P99, ours.rank_paced, ours.paced, "p99_ms"))
    return [*found, outcome(SCORING, [scoring["score_us"]])] if scoring else found


def _ratio(
    target: Target,
    above: Sequence[Mapping[str, Any]],
    below: Sequence[Mapping[str, Any]],
    name: str,
) -> Outcome:
    """Return the median of the ratios of each round, so that a slow phase affects both sides."""
    nan = float("nan")
    rounds = zip(above, below, strict=False)
    return outcome(target, [mine.get(name, nan) / other.get(name, nan) for mine, other in rounds])
