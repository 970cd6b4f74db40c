"""May this model replace the champion? Absolute and relative conditions, a reason for each."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tasks.errors import ConfigError


@dataclass(frozen=True)
class Gates:
    """The limits, read from ``gates`` in ``env.yaml``.

    Attributes
    ----------
    max_normalized_entropy
        Upper limit, exclusive; 1 is the entropy of a model that knows only the click rate.
    max_relative_loss
        How much worse than the champion, as a share of its normalized entropy on the same rows.
    calibration_ratio
        Lower and upper bound of mean prediction over click rate, on all test rows. A model is refused
        when its whole 95% interval lies outside, so that a small test part does not refuse a model by chance.
    slice_calibration_ratio
        The same for each slice of at least `min_slice_rows` rows.
    min_slice_rows
        Smaller slices are shown but not judged: their ratio is mostly noise.
    allow_other_data
        Whether a model of rows of another origin may replace the champion.
    """

    max_normalized_entropy: float = 1.0
    max_relative_loss: float = 0.0
    calibration_ratio: tuple[float, float] = (0.8, 1.25)
    slice_calibration_ratio: tuple[float, float] = (0.6, 1.6)
    min_slice_rows: int = 2000
    allow_other_data: bool = False

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Gates":
        """Return the gates in `raw`; ConfigError names an unknown or impossible limit."""
        unknown = sorted(set(raw) - set(cls.__dataclass_fields__))
        if unknown:
            raise ConfigError(
                f"gates: unknown limit {unknown[0]!r}; known are {sorted(cls.__dataclass_fields__)}"
            )
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()
        }
        gates = cls(**values)
        for name in ("calibration_ratio", "slice_calibration_ratio"):
            bounds = getattr(gates, name)
            if not (
                isinstance(bounds, tuple) and len(bounds) == 2 and 0 < bounds[0] <= 1 <= bounds[1]
            ):
                raise ConfigError(f"gates: {name} must be [low, high] around 1, found {bounds}")
        if not 0 < gates.max_normalized_entropy <= 1:
            raise ConfigError(
                f"gates: max_normalized_entropy must lie in (0, 1], found {gates.max_normalized_entropy}"
            )
        if gates.max_relative_loss < 0 or gates.min_slice_rows < 1:
            raise ConfigError("gates: max_relative_loss must be >= 0 and min_slice_rows >= 1")
        if not isinstance(gates.allow_other_data, bool):
            raise ConfigError(
                f"gates: allow_other_data must be true or false, found {gates.allow_other_data!r}"
            )
        return gates


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


def judge(
    model: str,
    metrics: Mapping[str, Any],
    slices: Sequence[Mapping[str, Any]],
    *,
    gates: Gates,
    champion: Mapping[str, Any] | None = None,
    origins: tuple[str, str] | None = None,
) -> Verdict:
    """Hold one candidate against the gates.

    Parameters
    ----------
    model
        Name of the candidate.
    metrics
        ``normalized_entropy`` and ``calibration_ratio`` on the test rows; ``calibration_interval``,
        (low, high), where it was estimated.
    slices
        One mapping a slice with ``slice``, ``value``, ``n_rows``, ``calibration_ratio``.
    gates
        The limits.
    champion
        Metrics of the champion *on the same rows*; None while there is none.
    origins
        Where the candidate's rows come from, and the champion's (:mod:`tasks.logs.origin`); None if unknown.

    Returns
    -------
    Verdict
        A NaN metric fails its condition.
    """
    checks = [_below_base_rate(metrics, gates), _calibrated(metrics, gates)]
    if champion is not None:
        checks.append(_no_worse(metrics, champion, gates))
    if origins is not None:
        checks.append(_same_origin(*origins, gates))
    large = [part for part in slices if part["n_rows"] >= gates.min_slice_rows]
    checks.append(_slices_calibrated(large, gates))
    return Verdict(model=model, checks=tuple(checks))


def _below_base_rate(metrics: Mapping[str, Any], gates: Gates) -> Check:
    value, limit = metrics["normalized_entropy"], gates.max_normalized_entropy
    return Check(
        "normalized_entropy",
        value < limit,
        f"normalized entropy {value:.4f}, must be below {limit:g}",
    )


def _calibrated(metrics: Mapping[str, Any], gates: Gates) -> Check:
    value, (low, high) = metrics["calibration_ratio"], gates.calibration_ratio
    begin, end = metrics.get("calibration_interval") or (value, value)
    span = f" (95% interval {begin:.3f} to {end:.3f})" if begin < end else ""
    reason = f"calibration ratio {value:.3f}{span}, must lie in [{low:g}, {high:g}]"
    return Check("calibration_ratio", begin <= high and end >= low, reason)


def _no_worse(metrics: Mapping[str, Any], champion: Mapping[str, Any], gates: Gates) -> Check:
    value, other = metrics["normalized_entropy"], champion["normalized_entropy"]
    limit = other * (1 + gates.max_relative_loss)
    reason = f"normalized entropy {value:.4f}, the champion has {other:.4f} on the same rows (limit {limit:.4f})"
    return Check("no_worse_than_champion", value <= limit, reason)


def _same_origin(origin: str, champion_origin: str, gates: Gates) -> Check:
    if origin == champion_origin:
        return Check("same_origin", True, f"champion and candidate learned from {origin}")
    found = f"it learned from {origin}, the champion from {champion_origin}"
    if gates.allow_other_data:
        return Check("same_origin", True, f"{found}: allowed by ALLOW_OTHER_DATA=1")
    return Check("same_origin", False, f"{found}; to replace it on purpose, set ALLOW_OTHER_DATA=1")


def _slices_calibrated(slices: Sequence[Mapping[str, Any]], gates: Gates) -> Check:
    low, high = gates.slice_calibration_ratio
    out = [part for part in slices if not low <= part["calibration_ratio"] <= high]
    if not out:
        return Check("slices", True, f"all {len(slices)} large slices lie in [{low:g}, {high:g}]")
    worst = max(out, key=lambda part: part["n_rows"])
    reason = (
        f"slice {worst['slice']}={worst['value']} ({worst['n_rows']:,} rows) has calibration ratio "
        f"{worst['calibration_ratio']:.3f}, must lie in [{low:g}, {high:g}]"
        + (f"; {len(out) - 1} more slices are out of bounds" if len(out) > 1 else "")
    )
    return Check("slices", False, reason)
