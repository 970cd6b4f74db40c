"""Metrics of served predictions from sums, with intervals that know that clicks of one unit belong together.

References
----------
Kott (2001), "The delete-a-group jackknife", Journal of Official Statistics 17(4): units fall into groups at random, each
group is left out once, and how much the metric moves tells its variance.
"""

from typing import Any

import numpy as np

from tasks.evaluation.evidence import chance_of_ratio, ratio_interval

METRICS = ("ctr", "mean_p_click", "calibration_ratio", "log_loss", "normalized_entropy")


def metrics(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Return each of `METRICS` from sums ``(..., 4)`` (see :mod:`tasks.monitoring.tally`); NaN where not defined.

    The definitions are those of :mod:`tasks.evaluation.metrics`.
    """
    n, clicks, expected, loss = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ctr = clicks / n
        entropy = -(ctr * np.log(ctr) + (1 - ctr) * np.log1p(-ctr))
        ratio = np.where(clicks > 0, expected / clicks, np.nan)
        values = (ctr, expected / n, ratio, loss / n, loss / n / entropy)
    return dict(zip(METRICS, values, strict=True))


def with_intervals(sums: np.ndarray, *, level: float = 0.95) -> dict[str, Any]:
    """Return counts and metrics of sums by group ``(n_groups, 4)``, each metric with ``_low`` and ``_high``.

    The interval of the calibration ratio is the jackknife's or the exact binomial one, whichever is wider. NaN is a
    metric that is not defined, such as those of no rows.
    """
    from scipy.special import stdtrit

    total = sums.sum(axis=0)
    out: dict[str, Any] = {
        "n_exposures": int(total[0]),
        "n_clicks": int(total[1]),
        "n_expected": float(total[2]),
    }
    whole, errors, n_groups = _jackknife(sums)
    width = float(stdtrit(max(n_groups - 1, 1), (1 + level) / 2))
    for name, value in whole.items():
        half = width * errors[name]
        out[name] = value
        if name == "calibration_ratio":  # its logarithm is the nearer to normal
            out[f"{name}_low"], out[f"{name}_high"] = _ratio_interval(total, value, half, level)
        else:
            out[f"{name}_low"], out[f"{name}_high"] = value - half, value + half
    return out


def chance_of_calibration(sums: np.ndarray) -> float:
    """Return the chance of a calibration ratio as far from 1 if predictions are right; the higher of two readings.

    Exact binomial tails, as if rows were independent, and the jackknife's t test of the logarithm.
    """
    from scipy.special import stdtr

    total = sums.sum(axis=0)
    if not total[0]:
        return 1.0
    exact = float(chance_of_ratio(total[1], total[0], total[2]))
    whole, errors, n_groups = _jackknife(sums)
    ratio, error = whole["calibration_ratio"], errors["calibration_ratio"]
    if not (ratio > 0 and error > 0):
        return exact
    by_units = 2 * float(stdtr(max(n_groups - 1, 1), -abs(np.log(ratio)) / error))
    return max(exact, by_units)


def _jackknife(sums: np.ndarray) -> tuple[dict[str, float], dict[str, float], int]:
    """Return metrics, their standard errors (of the ratio, of its logarithm), and the number of groups with rows."""
    total = sums.sum(axis=0)
    whole = {name: float(value) for name, value in metrics(total).items()}
    used = sums[sums[:, 0] > 0]
    if len(used) < 2:
        return whole, dict.fromkeys(whole, float("nan")), len(used)
    left_out = metrics(total - used)
    left_out["calibration_ratio"] = np.log(left_out["calibration_ratio"])
    scale = (len(used) - 1) / len(used)
    errors = {
        name: float(np.sqrt(scale * ((value - value.mean()) ** 2).sum()))
        for name, value in left_out.items()
    }
    return whole, errors, len(used)


def _ratio_interval(
    total: np.ndarray, value: float, half: float, level: float
) -> tuple[float, float]:
    if not total[0]:
        return float("nan"), float("nan")
    low, high = ratio_interval(total[1], total[0], total[2], level=level)
    if not np.isfinite(half):
        return low, high
    return min(low, value * float(np.exp(-half))), max(high, value * float(np.exp(half)))
