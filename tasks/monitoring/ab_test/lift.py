"""How much more clicks, or loss, a treatment has per impression than the control, at one look.

Estimate and variance are tea-tasting's ``RatioOfMeans``: the delta method over units, with a covariate (CUPED). What it
has none of is the interval that holds at every look; that is :mod:`tasks.monitoring.ab_test.sequential`, on the
logarithm of the ratio, whose standard error follows from tea-tasting's interval.

References
----------
Deng, Knoblich and Lu (2018), "Applying the delta method in metric analytics". Deng, Xu, Kohavi and Walker (2013),
"Improving the sensitivity of online controlled experiments by utilizing pre-experiment data" (CUPED).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.monitoring.ab_test.plan import Plan
from tasks.monitoring.ab_test.record import LiftRecord
from tasks.monitoring.ab_test.sequential import Z_95, always_valid_p, half_width
from tasks.monitoring.ab_test.units import effective_units, moments

FEWEST_UNITS = 50  # of equal weight, from which on a mean is near normal
FEWEST_CLICKS = 50
_SCALE = 3.0


@dataclass(frozen=True)
class Metric:
    """A ratio over impressions: its name, the column of its sum, the scale of the mixture."""

    name: str
    column: str
    scale: float


def metric_of(name: str, plan: Plan, *, times: float = _SCALE) -> Metric:
    """Return ``ctr`` or ``log_loss``, with `times` the smallest difference worth knowing as its scale.

    The interval is narrowest where the standard error is a third of the scale: while the smallest difference cannot be
    seen yet, larger ones can. Once it can, the interval is 8% wider than with a scale made for that moment.
    """
    if name == "ctr":
        return Metric("ctr", "clicks", times * plan.smallest_lift)
    return Metric("log_loss", "loss", times * plan.smallest_loss_change)


METRICS = ("ctr", "log_loss")


def fault_of(sums: np.ndarray, variant: str) -> str:
    """Return why the sums of a variant by unit carry no interval, or the empty text."""
    if not len(sums):
        return f"{variant} has no impressions"
    n_clicks, worth = int(sums[:, 0].sum()), effective_units(sums)
    if n_clicks < FEWEST_CLICKS:
        return f"{variant} has {n_clicks} clicks, fewer than {FEWEST_CLICKS}"
    if worth < FEWEST_UNITS:
        share = sums[:, 1].max() / sums[:, 1].sum()
        return (
            f"{variant} has the weight of {worth:.0f} units, fewer than {FEWEST_UNITS}: one unit has {share:.0%} of "
            "its impressions"
        )
    if n_clicks == sums[:, 1].sum():
        return f"{variant} has no impression without a click"
    return ""


def lift_of(
    control: np.ndarray,
    treatment: np.ndarray,
    metric: Metric,
    *,
    alpha: float,
    with_covariate: bool = False,
    names: tuple[str, str] = ("the control", "the treatment"),
    day: str = "",
    slice_name: str = "",
) -> LiftRecord:
    """Return the lift of a treatment over the control.

    Parameters
    ----------
    control, treatment
        Sums by unit, ``(n_units, 5)`` each (:data:`tasks.monitoring.ab_test.units.COLUMNS`).
    metric
        What is compared.
    alpha
        Chance that the interval misses the truth at some look.
    with_covariate
        Whether the covariate is used.
    names, day, slice_name
        For the record.
    """
    record = LiftRecord(metric.name, names[1], day, slice_name)
    for sums, name in ((control, names[0]), (treatment, names[1])):
        if fault := fault_of(sums, name):
            record.why = fault
            return record
    found = ratio_metric(metric.column, with_covariate).analyze_aggregates(
        moments(control), moments(treatment)
    )
    error = log_error(found)
    if not (found.control > 0 and found.treatment > 0 and math.isfinite(error) and error > 0):
        record.why = "the variance cannot be estimated"
        return record
    effect = math.log(found.treatment / found.control)
    reach = half_width(error**2, alpha=alpha, scale=metric.scale)
    record.control_value, record.treatment_value = found.control, found.treatment
    record.lift, record.error = math.expm1(effect), error
    record.low, record.high = math.expm1(effect - reach), math.expm1(effect + reach)
    record.single_low = found.rel_effect_size_ci_lower
    record.single_high = found.rel_effect_size_ci_upper
    record.p_value = always_valid_p(effect, error**2, scale=metric.scale)
    record.is_sure = record.low > 0 or record.high < 0
    return record


def ratio_metric(column: str, with_covariate: bool, **options: Any) -> Any:
    """Return tea-tasting's metric of a column per impression."""
    from tea_tasting.metrics import RatioOfMeans

    covariate = ("covariate", "covariate_base") if with_covariate else (None, None)
    same = {"use_t": False, "equal_var": False, "confidence_level": 0.95}
    return RatioOfMeans(column, "impressions", *covariate, **same, **options)


def log_error(found: Any) -> float:
    """Return the standard error of the logarithm of the ratio, from tea-tasting's interval of the ratio."""
    low, high = 1 + found.rel_effect_size_ci_lower, 1 + found.rel_effect_size_ci_upper
    return math.log(high / low) / (2 * Z_95) if low > 0 and high > 0 else float("nan")
