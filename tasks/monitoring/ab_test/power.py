"""The smallest lift that the traffic so far could show, and the days until the wanted one is seen."""

import math
from collections.abc import Sequence

import numpy as np

from tasks.monitoring.ab_test.lift import Metric, ratio_metric
from tasks.monitoring.ab_test.plan import Plan
from tasks.monitoring.ab_test.record import LiftRecord, PowerRecord
from tasks.monitoring.ab_test.sequential import error_needed, smallest_effect
from tasks.monitoring.ab_test.units import moments

_WEEK = 7


def power_of(
    looks: Sequence[LiftRecord],
    control: np.ndarray,
    treatment: np.ndarray,
    metric: Metric,
    plan: Plan,
    *,
    with_covariate: bool = False,
) -> PowerRecord:
    """Return what the traffic of a treatment can show.

    Parameters
    ----------
    looks
        Its looks at the metric, one per day.
    control, treatment
        Sums by unit until the last day.
    metric, plan
        What is compared, and how.
    with_covariate
        Whether the covariate is used.
    """
    wanted = plan.smallest_lift if metric.name == "ctr" else plan.smallest_loss_change
    record = PowerRecord(metric.name, looks[-1].treatment, wanted)
    if looks[-1].error is None:
        return record
    how = {"alpha": plan.alpha_each, "power": plan.power, "scale": metric.scale}
    record.smallest_lift = math.expm1(smallest_effect(looks[-1].error, **how))
    record.days_left = days_left(
        [one.error for one in looks], error_needed(math.log1p(wanted), **how)
    )
    fixed = ratio_metric(
        metric.column,
        with_covariate,
        alpha=plan.alpha_each,
        power=plan.power,
        ratio=len(treatment) / len(control),
    )
    everyone = moments(np.concatenate([control, treatment]))
    solved = fixed.solve_power_from_aggregates(everyone, "rel_effect_size")
    record.single_smallest_lift = float(solved[0].rel_effect_size)
    return record


def days_left(errors: Sequence[float | None], wanted: float) -> int | None:
    """Return the days until the standard error is as small as `wanted`; None: never at the traffic of the last week.

    Information, 1 over the squared error, grows by as much a day as over the last seven days.

    Parameters
    ----------
    errors
        By day, None where there was none yet.
    wanted
        Above 0.

    Examples
    --------
    >>> days_left([0.02, 0.02 / 2**0.5], 0.01)  # 2,500 a day, 10,000 wanted
    2
    """
    information = [1 / error**2 if error else 0.0 for error in errors]
    missing = 1 / wanted**2 - information[-1]
    if missing <= 0:
        return 0
    before = [0.0, *information][-_WEEK - 1 :]
    daily = (before[-1] - before[0]) / (len(before) - 1)
    return math.ceil(missing / daily - 1e-9) if daily > 0 else None
