"""What is known of units besides the experiment, to take chance out of the comparison (CUPED); it must not depend on it.

A covariate that the treatment moves takes part of the effect away, or makes one up. The prediction of the variant that
answered is such a one, as variants answer with different models: it is never used. What may be used is each unit's clicks
before the experiment, while one variant answered all, or the predictions of one model that scored the impressions of all
variants (a shadow), as long as the variants do not choose which impressions are shown. Either is compared between the
variants first, and left out where it differs.

References
----------
Deng, Xu, Kohavi and Walker (2013), "Improving the sensitivity of online controlled experiments by utilizing
pre-experiment data", section 3.3 on covariates that the treatment must not affect.
"""

import numpy as np

from tasks.monitoring.ab_test.impressions import Impressions
from tasks.monitoring.ab_test.lift import Metric, lift_of, metric_of
from tasks.monitoring.ab_test.plan import BEFORE, NONE, Plan
from tasks.monitoring.ab_test.record import LiftRecord
from tasks.monitoring.ab_test.units import Arm, arm_of, totals_by_unit

_BALANCE = 0.01  # chance that a sound covariate is left out


def arms_with_covariate(
    rows: Impressions, found: Impressions, first_day: int, plan: Plan, notes: list[str]
) -> tuple[str, dict[str, Arm]]:
    """Return the covariate that is used, and the sums of all variants with it."""
    names = [plan.control, *plan.treatments]
    plain = {name: arm_of(found, name) for name in names}
    if plan.covariate == NONE:
        return NONE, plain
    before = _before(rows, first_day) if plan.covariate == BEFORE else None
    fault = _no_past(before, found) if before is not None else _no_shadow(found, plan.shadow)
    if fault:
        notes.append(f"no covariate is used: {fault}")
        return NONE, plain
    arms = {name: arm_of(found, name, shadow=plan.shadow, before=before) for name in names}
    for name in plan.treatments:
        balance = _balance(
            totals_by_unit(arms[plan.control]), totals_by_unit(arms[name]), name, plan
        )
        if balance.is_sure:
            notes.append(
                f"no covariate is used: it is {balance.lift:+.1%} in {name} (p = {balance.p_value:.1g}), though a covariate "
                "must not depend on the variant"
            )
            return NONE, plain
    return plan.covariate, arms


def _before(rows: Impressions, first_day: int) -> Impressions:
    return rows.take(rows.day < first_day)


def _no_past(before: Impressions, found: Impressions) -> str:
    """Return why the impressions before the experiment are no covariate, or the empty text."""
    known = np.isin(before.unit.codes, found.unit.codes)
    if not known.any():
        return "no unit has impressions before the experiment (a new name or salt changes all unit hashes)"
    if len(variants := np.unique(before.variant.codes[known])) > 1:
        listed = ", ".join(before.variant.names[code] for code in variants.tolist())
        return f"before the experiment several variants answered ({listed}), which still shows in their units"
    return "" if before.y_true[known].any() else "there is no click before the experiment"


def _no_shadow(found: Impressions, model: str) -> str:
    if model not in found.shadow:
        listed = ", ".join(found.shadow) or "none"
        return f"no shadow is called {model!r}; exposures have {listed}"
    n_lost = int(np.isnan(found.shadow[model]).sum())
    return f"{model} did not score {n_lost:,} of {len(found.day):,} impressions" if n_lost else ""


def _balance(control: np.ndarray, treatment: np.ndarray, name: str, plan: Plan) -> LiftRecord:
    """Return the lift of the covariate itself, which should be none."""
    as_metric = [3, 4, 2, 3, 4]
    alpha = _BALANCE / len(plan.treatments)
    metric = Metric("covariate", "clicks", metric_of("ctr", plan).scale)
    return lift_of(
        control[:, as_metric],
        treatment[:, as_metric],
        metric,
        alpha=alpha,
        names=(plan.control, name),
    )
