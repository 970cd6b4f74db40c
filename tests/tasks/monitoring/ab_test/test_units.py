"""Sums by unit and the moments that tea-tasting takes."""

import numpy as np
import pytest

from tasks.evaluation.rows import row_losses
from tasks.monitoring.ab_test.simulated import (
    CONTROL,
    SHADOW,
    TREATMENT,
    World,
    simulate_experiment,
)
from tasks.monitoring.ab_test.units import (
    COLUMNS,
    arm_of,
    effective_units,
    moments,
    totals_by_unit,
)

ROWS = simulate_experiment(World(units_per_day=40, days=5, return_chance=0.5), seed=1)


def naive(variant, until):
    """Return clicks, impressions, loss and shadow by unit, one row at a time."""
    found = {}
    losses = row_losses(ROWS.y_true, ROWS.p_click)
    for row in range(len(ROWS.day)):
        if ROWS.variant.names[ROWS.variant.codes[row]] == variant and ROWS.day[row] <= until:
            sums = found.setdefault(int(ROWS.unit.codes[row]), np.zeros(5))
            sums += [ROWS.y_true[row], 1, losses[row], ROWS.shadow[SHADOW][row], 1]
    return np.array([found[unit] for unit in sorted(found)])


@pytest.mark.parametrize("variant", [CONTROL, TREATMENT])
def test_each_look_has_the_sums_of_the_rows_so_far(variant):
    """Units that return keep one row, and count once they have been seen."""
    days = np.unique(ROWS.day)
    arm = arm_of(ROWS, variant, shadow=SHADOW)
    for day, sums in zip(days, arm.looks(days), strict=True):
        np.testing.assert_allclose(sums, naive(variant, day), rtol=1e-12)
    np.testing.assert_allclose(totals_by_unit(arm), sums)


def test_the_past_is_a_units_own():
    """Clicks and impressions before the experiment, of the same unit."""
    rows = simulate_experiment(World(units_per_day=30, days=3, days_before=3, return_chance=0.6))
    during = rows.experiment.codes == 1
    before = rows.take(~during)
    arm = arm_of(rows.take(during), CONTROL, before=before)
    units = np.unique(arm.unit)
    wanted = [before.y_true[before.unit.codes == unit].sum() for unit in units]
    np.testing.assert_array_equal(totals_by_unit(arm)[:, 3], wanted)


def test_moments_are_those_of_the_columns():
    """Against NumPy's, column by column."""
    sums = np.random.default_rng(2).gamma(2, size=(50, 5))
    found = moments(sums)
    assert found.count() == 50
    for i, one in enumerate(COLUMNS):
        assert found.mean(one) == pytest.approx(sums[:, i].mean())
        assert found.var(one) == pytest.approx(sums[:, i].var(ddof=1))
        for j, other in enumerate(COLUMNS[:i]):
            assert found.cov(one, other) == pytest.approx(np.cov(sums[:, i], sums[:, j])[0, 1])


def test_one_unit_with_a_million_impressions_is_worth_one_unit():
    """And equal ones are worth their number."""
    equal = np.ones((100, 5))
    assert effective_units(equal) == pytest.approx(100)
    equal[0, 1] = 1e6
    assert effective_units(equal) == pytest.approx(1, abs=0.01)
