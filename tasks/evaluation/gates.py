"""May this model replace the champion? Absolute and relative conditions, a reason for each.

A model is refused where it is out of bounds and the clicks show that this is not chance: docs/gates.md.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tasks.errors import ConfigError
from tasks.evaluation.evidence import (
    Promise,
    chance_of_ratio,
    clicks_needed,
    ratio_interval,
    slice_evidence,
)
from tasks.evaluation.succession import Paired, no_worse, tells_enough
from tasks.schemas.fields import UNSEEN

N_TESTS = 3  # conditions that chance could fail: entropy, calibration, slices
_NOTHING = 0.001  # predictions that promise less than this share below the limit say nothing
REPLACED = {
    "min_slice_rows": "slices are judged by their clicks now, however many rows they have; remove it "
    "(gates.max_false_refusals says how rarely chance may refuse a model)"
}


@dataclass(frozen=True)
class Gates:
    """The limits, read from ``gates`` in ``env.yaml``.

    Attributes
    ----------
    max_normalized_entropy
        Upper limit, exclusive; 1 is the entropy of a model that knows only the click rate.
    max_relative_loss
        How much worse than the champion a model may be, as a share of its log loss on the same rows, beyond what
        chance explains.
    max_undetected_loss
        A champion is replaced only where the clicks would show a log loss that is higher by this share.
    calibration_ratio
        Lower and upper bound of mean prediction over click rate, on all test rows.
    slice_calibration_ratio
        The same for each slice.
    unseen_calibration_ratio
        The same for values that no model has learned, in a slice with ``seen: true``.
    max_false_refusals
        Chance at most that a model is refused whose predictions are the true probabilities. A third of it goes to
        each of normalized entropy, calibration, and all slices together.
    allow_other_data
        Whether a model of rows of another origin may replace the champion.
    """

    max_normalized_entropy: float = 1.0
    max_relative_loss: float = 0.0
    max_undetected_loss: float = 0.01
    calibration_ratio: tuple[float, float] = (0.8, 1.25)
    slice_calibration_ratio: tuple[float, float] = (0.8, 1.25)
    unseen_calibration_ratio: tuple[float, float] = (0.6, 1.7)
    max_false_refusals: float = 0.05
    allow_other_data: bool = False

    def bounds_of(self, part: Mapping[str, Any]) -> tuple[float, float]:
        """Return the bounds of a slice's calibration ratio."""
        return self.unseen_calibration_ratio if part.get(UNSEEN) else self.slice_calibration_ratio

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Gates":
        """Return the gates in `raw`; ConfigError names an unknown or impossible limit."""
        unknown = sorted(set(raw) - set(cls.__dataclass_fields__))
        if unknown and unknown[0] in REPLACED:
            raise ConfigError(f"gates: {unknown[0]}: {REPLACED[unknown[0]]}")
        if unknown:
            raise ConfigError(
                f"gates: unknown limit {unknown[0]!r}; known are {sorted(cls.__dataclass_fields__)}"
            )
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()
        }
        gates = cls(**values)
        for name in ("calibration_ratio", "slice_calibration_ratio", "unseen_calibration_ratio"):
            bounds = getattr(gates, name)
            if not (
                isinstance(bounds, tuple) and len(bounds) == 2 and 0 < bounds[0] <= 1 <= bounds[1]
            ):
                raise ConfigError(f"gates: {name} must be [low, high] around 1, found {bounds}")
        for name, is_possible, domain in (
            ("max_normalized_entropy", 0 < gates.max_normalized_entropy <= 1, "lie in (0, 1]"),
            ("max_relative_loss", gates.max_relative_loss >= 0, "be >= 0"),
            ("max_undetected_loss", gates.max_undetected_loss > 0, "be > 0"),
            ("max_false_refusals", 0 < gates.max_false_refusals < 1, "lie between 0 and 1"),
            ("allow_other_data", isinstance(gates.allow_other_data, bool), "be true or false"),
        ):
            if not is_possible:
                found = getattr(gates, name)
                raise ConfigError(f"gates: {name} must {domain}, found {found!r}")
        return gates

    @property
    def alpha(self) -> float:
        """Chance of a false refusal that each condition may have."""
        return self.max_false_refusals / N_TESTS

    @property
    def clicks_needed(self) -> int:
        """Clicks among the test rows from which on chance keeps a right model within ``calibration_ratio``."""
        return clicks_needed(self.calibration_ratio, self.alpha)


@dataclass(frozen=True)
class Check:
    """One condition and how it came out."""

    name: str
    passed: bool
    reason: str


@dataclass(frozen=True)
class Verdict:
    """All conditions of one candidate; it passes when every one does."""

    model: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """True when no condition failed."""
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """Why it was refused, one sentence a failed condition; empty when it passed."""
        return [check.reason for check in self.checks if not check.passed]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        checks = [asdict(check) for check in self.checks]
        return {
            "model": self.model,
            "passed": self.passed,
            "reasons": self.reasons,
            "checks": checks,
        }


def refused(model: str, reason: str) -> Verdict:
    """Return the verdict on a model that has no predictions to be judged by."""
    return Verdict(model, (Check("predictions", False, reason),))


def judge(
    model: str,
    metrics: Mapping[str, Any],
    slices: Sequence[Mapping[str, Any]],
    *,
    gates: Gates,
    promised: Promise | None = None,
    paired: Paired | None = None,
    unbeaten: str | None = None,
    origins: tuple[str, str] | None = None,
) -> Verdict:
    """Hold one candidate against the gates.

    Parameters
    ----------
    model
        Name of the candidate.
    metrics
        ``normalized_entropy``, ``calibration_ratio``, ``n_impressions``, ``n_clicks`` and ``n_expected`` on the test
        rows.
    slices
        One mapping a slice with ``slice``, ``value``, ``n_rows``, ``n_impressions``, ``n_clicks``, ``n_expected``.
    gates
        The limits.
    promised
        What the predictions promise, where the normalized entropy is not below its limit
        (:func:`tasks.evaluation.evidence.promise`); None: chance is no excuse.
    paired
        How it compares with the champion on the rows that neither has learned; None while there is none.
    unbeaten
        Why a champion that serves cannot be compared, if no model may take its place for that.
    origins
        Where the candidate's rows come from, and the champion's (:mod:`tasks.logs.origin`); None if unknown.

    Returns
    -------
    Verdict
        A NaN metric fails its condition. Without a click, or without a row that was not clicked, there is nothing to
        judge by, which is the only reason then.
    """
    n_clicks, n_impressions = metrics["n_clicks"], metrics["n_impressions"]
    if not 0 < n_clicks < n_impressions:
        which = "no click" if not n_clicks else "nothing but clicks"
        reason = (
            f"{which} among the {n_impressions:,.0f} test impressions, so there is nothing to judge by; "
            f"about {gates.clicks_needed:,} clicks are needed: take a longer log, or a larger split.test_share"
        )
        return Verdict(model, (Check("clicks", False, reason),))
    checks = [_below_base_rate(metrics, promised, gates), _calibrated(metrics, gates)]
    if paired is not None:
        checks += _against(paired, gates)
    if unbeaten is not None:
        checks.append(Check("no_worse_than_champion", False, unbeaten))
    if origins is not None:
        checks.append(_same_origin(*origins, gates))
    checks.append(_slices_calibrated(slices, metrics["calibration_ratio"], gates))
    return Verdict(model=model, checks=tuple(checks))


def few_clicks(n_clicks: float, n_impressions: float, gates: Gates) -> str | None:
    """Return what so few clicks cannot tell, in a sentence; None if they are enough, or none at all."""
    needed = gates.clicks_needed
    if not 0 < n_clicks < needed:
        return None
    rows = n_impressions * needed / n_clicks
    low, high = gates.calibration_ratio
    return (
        f"{_counted(n_clicks, 'click')} among the {n_impressions:,.0f} test impressions: smaller errors stay unseen; about "
        f"{needed:,} clicks (here {rows:,.0f} impressions) are needed to tell a calibration of 1 from one outside of "
        f"[{low:g}, {high:g}]"
    )


def _below_base_rate(metrics: Mapping[str, Any], promised: Promise | None, gates: Gates) -> Check:
    value, limit = metrics["normalized_entropy"], gates.max_normalized_entropy
    reason = f"normalized entropy {value:.4f}, must be below {limit:g}"
    passed = value < limit
    if not passed and math.isfinite(value) and promised is not None:
        if promised.chance <= gates.alpha:
            reason += f"; right predictions do so badly in {_percent(promised.chance)} of cases"
        elif promised.entropy >= limit * (1 - _NOTHING):
            reason += f": the predictions hardly differ from each other (if right, they reach {promised.entropy:.4f})"
        else:
            passed = True
            reason += f", but with so few clicks right predictions do no better in {promised.chance:.0%} of cases"
    return Check("normalized_entropy", passed, reason)


def _calibrated(metrics: Mapping[str, Any], gates: Gates) -> Check:
    value, (low, high) = metrics["calibration_ratio"], gates.calibration_ratio
    counts = [metrics[key] for key in ("n_clicks", "n_impressions", "n_expected")]
    begin, end = ratio_interval(*counts)
    reason = f"calibration ratio {value:.3f} (95% interval {begin:.3f} to {end:.3f}), must lie in [{low:g}, {high:g}]"
    if low <= value <= high:
        return Check("calibration_ratio", True, reason)
    chance = float(chance_of_ratio(*counts))
    if chance > gates.alpha:  # NaN is not
        return Check("calibration_ratio", True, f"{reason}; so far off by chance {chance:.0%}")
    return Check("calibration_ratio", False, reason)


def _against(paired: Paired, gates: Gates) -> list[Check]:
    passed, reason = no_worse(paired, max_relative_loss=gates.max_relative_loss)
    checks = [Check("no_worse_than_champion", passed, reason)]
    if passed:
        limits = (gates.max_undetected_loss, gates.clicks_needed)
        checks.append(Check("enough_clicks", *tells_enough(paired, *limits)))
    return checks


def _same_origin(origin: str, champion_origin: str, gates: Gates) -> Check:
    if origin == champion_origin:
        return Check("same_origin", True, f"champion and candidate learned from {origin}")
    found = f"it learned from {origin}, the champion from {champion_origin}"
    if gates.allow_other_data:
        return Check("same_origin", True, f"{found}: allowed by ALLOW_OTHER_DATA=1")
    return Check("same_origin", False, f"{found}; to replace it on purpose, set ALLOW_OTHER_DATA=1")


def _slices_calibrated(slices: Sequence[Mapping[str, Any]], overall: float, gates: Gates) -> Check:
    if not slices:
        return Check("slices", True, "no slice is declared")
    chance, out = slice_evidence(slices, overall, gates)
    if not out.any():
        low, high = gates.slice_calibration_ratio
        reason = f"none of {len(slices)} slices is outside of [{low:g}, {high:g}] by more than chance explains"
        return Check("slices", True, reason)
    worst = min(np.flatnonzero(out).tolist(), key=lambda number: float(chance[number]))
    part = slices[worst]
    low, high = gates.bounds_of(part)
    ratio = part["n_expected"] / part["n_clicks"] if part["n_clicks"] else math.inf
    others = int(out.sum()) - 1
    reason = (
        f"slice {part['slice']}={part['value']} ({part['n_rows']:,} rows, {_counted(part['n_clicks'], 'click')}, "
        f"{part['n_expected']:,.1f} predicted) has calibration ratio {ratio:.3f}, must lie in [{low:g}, {high:g}]"
        + (f"; {_counted(others, 'more slice')} out of bounds" if others else "")
    )
    return Check("slices", False, reason)


def _counted(n: float, noun: str) -> str:
    return f"{n:,.0f} {noun}{'s' * (n != 1)}"


def _percent(chance: float) -> str:
    return "less than 0.1%" if chance < 0.001 else f"{chance:.1%}"
