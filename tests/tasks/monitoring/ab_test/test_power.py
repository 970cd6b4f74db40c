"""Days left, and the smallest lift of one look, against the plain formula."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from tasks.monitoring.ab_test.lift import lift_of, metric_of
from tasks.monitoring.ab_test.plan import Plan
from tasks.monitoring.ab_test.power import days_left, power_of
from tests.tasks.monitoring.ab_test.test_lift import sums_by_unit

PLAN = Plan({"champion": 1, "challenger": 1})


def test_what_one_look_would_see_is_the_textbooks_sum_of_two_quantiles():
    """2.80 standard errors for alpha 5% and power 80%."""
    pair = sums_by_unit(4000, seed=1), sums_by_unit(4000, seed=2)
    metric = metric_of("ctr", PLAN)
    look = lift_of(*pair, metric, alpha=0.05)
    found = power_of([look], *pair, metric, PLAN)
    textbook = (norm.ppf(0.975) + norm.ppf(0.8)) * look.error
    assert found.single_smallest_lift == pytest.approx(textbook, rel=0.03)
    assert found.smallest_lift > found.single_smallest_lift


@pytest.mark.parametrize(
    ("errors", "days"),
    [
        ([0.1 / math.sqrt(day) for day in range(1, 11)], 90),  # of 100 days in all
        ([None, None, 0.1], 297),  # a hundred in three days, 10,000 are wanted
        ([0.01], 0),
        ([0.1] * 9, None),
        ([None], None),
    ],
    ids=["steady", "late", "there", "no traffic", "nothing yet"],
)
def test_days_left_follow_from_the_last_week(errors, days):
    """Information grows with traffic; without any, never."""
    assert days_left(errors, 0.01) == days


def test_nothing_is_said_of_looks_without_an_interval():
    """As there is no variance to plan with."""
    sums = np.zeros((3, 5))
    look = lift_of(sums, sums, metric_of("ctr", PLAN), alpha=0.05)
    assert power_of([look], sums, sums, metric_of("ctr", PLAN), PLAN).days_left is None
