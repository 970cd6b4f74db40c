"""What the serving bench measured of one worker, which has one core: ``bench/results/serving.json``."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import RESULTS

CALLS = {"/predict": ("saturated", "paced"), "/rank": ("rank_saturated", "rank_paced")}
_QUANTILES = {"p50_ms": 0.5, "p99_ms": 0.99, "p99_9_ms": 0.999, "max_ms": 1.0}
_FASTEST = 0.5  # of the median: no quantile below the median was measured
_GRID = np.linspace(0.0, 1.0, 100_001)


@dataclass(frozen=True)
class Worker:
    """One worker of the service on one core, for one call.

    Attributes
    ----------
    requests_per_s
        Answered at full load, the median of the rounds.
    cpu_us
        Processor time per request at full load.
    quantiles, times_s
        Distribution of the service time: shape of the latencies at a constant rate, mean of ``1 / requests_per_s``.
    memory_bytes
        Of supervisor and worker with one model (PSS).
    response_bytes
        Of one answer, head included.
    """

    call: str
    requests_per_s: float
    cpu_us: float
    quantiles: np.ndarray
    times_s: np.ndarray
    memory_bytes: int
    response_bytes: float

    def service_times_s(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Return drawn service times (s), linear in the logarithm between the measured quantiles."""
        return np.exp(np.interp(rng.random(shape), self.quantiles, np.log(self.times_s)))

    @property
    def squared_cv(self) -> float:
        """Squared coefficient of variation of the service time: 1 for an exponential one."""
        times_s = np.exp(np.interp(_GRID, self.quantiles, np.log(self.times_s)))
        return float(times_s.var() / times_s.mean() ** 2)


def read_worker(call: str, path: Path = RESULTS / "serving.json") -> Worker:
    """Return what was measured of our service for ``/predict`` or ``/rank`` (100 candidates)."""
    found = json.loads(path.read_text())["contestants"]["ours"]
    saturated, paced = (found[key] for key in CALLS[call])
    requests_per_s = _median(saturated, "requests_per_s")
    shape = [_median(paced, name) for name in _QUANTILES]
    times = np.array([_FASTEST * shape[0], *shape])
    quantiles = np.array([0.0, *_QUANTILES.values()])
    mean = np.exp(np.interp(_GRID, quantiles, np.log(times))).mean()
    return Worker(
        call,
        requests_per_s,
        _median(saturated, "cpu_us"),
        quantiles,
        times / mean / requests_per_s,
        found["pss_bytes"],
        float(np.median([one["n_bytes"] / one["n_requests"] for one in saturated])),
    )


def _median(rounds: list[dict[str, Any]], name: str) -> float:
    return float(np.median([one[name] for one in rounds]))
