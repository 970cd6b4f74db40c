"""How often the gates refuse the true probabilities, and how often a model that is 30% off: ``python -m bench.false_refusals``.

The true probabilities are those of the simulator at each click rate; clicks are drawn from them again and again. A
second witness computes the chance of a refusal from the normal distribution and the clicks alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tasks.evaluation import metrics
from tasks.evaluation.evidence import promise
from tasks.evaluation.gates import Gates, judge
from tasks.simulation.simulate import simulate_batches

RATES = (0.17, 0.02, 0.01, 0.005, 0.002, 0.0005)
N_SLICES = (4, 16, 64)
OFF = (1.3, 0.7)
N_PATTERNS = 40_000  # distinct rows; each stands for as many impressions as a larger log has


@dataclass(frozen=True)
class TestPart:
    """Test rows whose true probabilities are known: ``p_true``, impressions per row, and the slice of each row."""

    __test__ = False

    p_true: np.ndarray
    weight: int
    slices: np.ndarray
    n_slices: int

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the row, label and weight of drawn clicks, those without a click as well."""
        clicks = rng.binomial(self.weight, self.p_true)
        row = np.arange(len(clicks))
        rows, y_true = np.r_[row, row], np.repeat([1.0, 0.0], len(row))
        counts = np.r_[clicks, self.weight - clicks].astype(float)
        used = counts > 0
        return rows[used], y_true[used], counts[used]


def test_part(rate: float, n_slices: int, *, weight: int = 1, seed: int = 7) -> TestPart:
    """Return simulated rows at a click rate, in slices of sizes 1, 1/2, 1/3, ... of the largest."""
    batches = simulate_batches(N_PATTERNS, seed=seed, ctr=rate)
    p_true = np.concatenate([batch["p_true"].to_numpy() for batch in batches])
    share = 1 / np.arange(1, n_slices + 1)
    slices = np.random.default_rng(seed).choice(n_slices, len(p_true), p=share / share.sum())
    return TestPart(p_true, weight, slices, n_slices)


def is_refused(part: TestPart, p_click: np.ndarray, rng: np.random.Generator, gates: Gates) -> bool:
    """Draw clicks from the true probabilities, and return whether the gates refuse these predictions."""
    rows, y_true, weight = part.draw(rng)
    p = p_click[rows]
    found = metrics.counts(y_true, p, weight)
    found["calibration_ratio"] = metrics.calibration_ratio(y_true, p, weight)
    entropy = found["normalized_entropy"] = metrics.normalized_entropy(y_true, p, weight)
    promised = None if entropy < 1 else promise(p, weight, entropy)
    return not judge("", found, list(_tables(part, rows, y_true, p, weight)), gates=gates, promised=promised).passed  # fmt: skip


def _tables(
    part: TestPart, rows: np.ndarray, y_true: np.ndarray, p: np.ndarray, weight: np.ndarray
) -> Iterator[dict]:
    sums = {"n_impressions": weight, "n_clicks": weight * y_true, "n_expected": weight * p}
    totals = {k: np.bincount(part.slices[rows], v, part.n_slices) for k, v in sums.items()}
    for number in range(part.n_slices):
        values = {key: float(total[number]) for key, total in totals.items()}
        if values["n_impressions"]:
            yield {"slice": "s", "value": str(number), "n_rows": 1, **values}


def predictions(part: TestPart, factor: float, *, where: str) -> np.ndarray:
    """Return the true probabilities times a factor, on all rows or in the largest slice (`where` "one slice")."""
    here = part.slices == 0 if where == "one slice" else np.ones(len(part.slices), dtype=bool)
    return np.where(here, np.minimum(factor * part.p_true, 1 - 1e-9), part.p_true)


def share_refused(
    part: TestPart, p_click: np.ndarray, *, n_draws: int, seed: int = 0, gates: Gates | None = None
) -> float:
    """Return the share of draws in which the gates refuse these predictions."""
    rng, limits = np.random.default_rng(seed), gates or Gates()
    return sum(is_refused(part, p_click, rng, limits) for _ in range(n_draws)) / n_draws


def expected_power(part: TestPart, factor: float, *, where: str, gates: Gates | None = None) -> float:  # fmt: skip
    """Return the chance that clicks show predictions to be off by a factor, by the normal distribution.

    Of the condition that is meant to see it: calibration, or that of the slice.
    """
    gates = gates or Gates()
    one = where == "one slice"
    here = part.slices == 0 if one else np.ones(len(part.slices), dtype=bool)
    p = part.p_true[here]
    clicks = part.weight * p.sum()  # to be expected
    spread = math.sqrt(part.weight * (p * (1 - p)).sum())
    low, high = gates.slice_calibration_ratio if one else gates.calibration_ratio
    predicted = factor * clicks
    whole = part.weight * part.p_true.sum()
    overall = (whole + predicted - clicks) / whole if one else 1.0
    z = _quantile(gates.alpha / 2 / (part.n_slices if one else 1))
    just = predicted / overall  # so many clicks are no surprise
    reach = z * math.sqrt(just * (1 - just / (part.weight * len(p))))
    if factor > 1:
        return _below((min(predicted / high, just - reach) - clicks) / spread)
    return _below((clicks - max(predicted / low, just + reach)) / spread)


def _below(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


def _quantile(tail: float) -> float:
    """Return the z that a standard normal number exceeds with this chance, by bisection."""
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if _below(-middle) < tail else (middle, high)
    return high


def table(*, n_draws: int = 200) -> str:
    """Return the table of docs/gates.md, Markdown."""
    names = [f"× {factor:g}, {where}" for factor in OFF for where in ("all rows", "one slice")]
    lines = [
        f"| click rate | slices | clicks | true | {' | '.join(names)} |",
        "| --- " * (4 + len(names)) + "|",
    ]
    for weight in (1, 100):
        for rate in RATES:
            for n_slices in N_SLICES:
                part = test_part(rate, n_slices, weight=weight)
                cells = [f"{share_refused(part, part.p_true, n_draws=n_draws):.1%}"]
                for factor in OFF:
                    for where in ("all rows", "one slice"):
                        p_click = predictions(part, factor, where=where)
                        seen = share_refused(part, p_click, n_draws=n_draws)
                        power = expected_power(part, factor, where=where)
                        cells.append(f"{seen:.0%} ({power:.0%})")
                clicks = f"{weight * part.p_true.sum():,.0f}"
                lines.append(f"| {rate:.2%} | {n_slices} | {clicks} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())  # noqa: T201
