"""The lift at one look: the ratio of two ratios, its error over units."""

import math
import re

import numpy as np
import pytest

from tasks.monitoring.ab_test.lift import Metric, fault_of, lift_of
from tasks.monitoring.ab_test.sequential import half_width

CLICKS = Metric("ctr", "clicks", 0.06)


def sums_by_unit(n_units, *, seed, factor=1.0):
    """Return sums of units whose rates differ: clicks, impressions, loss, covariate and its base."""
    rng = np.random.default_rng(seed)
    n = rng.geometric(0.2, n_units)
    rate = rng.beta(2, 18, n_units)
    clicks = rng.binomial(n, np.minimum(rate * factor, 1))
    past = rng.binomial(10, rate)  # knows little of a rate
    return np.stack([clicks, n, clicks * 2.0 + 0.1 * n, past, np.full(n_units, 10)], axis=-1) * 1.0


def jackknife_error(control, treatment):
    """Return the standard error of the logarithm of the ratio, leaving out one unit at a time."""
    variance = 0.0
    for sums in (control, treatment):
        clicks, n = sums[:, 0].sum() - sums[:, 0], sums[:, 1].sum() - sums[:, 1]
        left = np.log(clicks / n)
        variance += (len(sums) - 1) / len(sums) * ((left - left.mean()) ** 2).sum()
    return math.sqrt(variance)


def test_lift_and_error_are_those_of_ratio_and_jackknife():
    """Two witnesses: sums by hand, and units left out one by one."""
    control, treatment = sums_by_unit(3000, seed=1), sums_by_unit(2000, seed=2, factor=1.2)
    found = lift_of(control, treatment, CLICKS, alpha=0.05)
    rates = [one[:, 0].sum() / one[:, 1].sum() for one in (control, treatment)]
    assert found.lift == pytest.approx(rates[1] / rates[0] - 1)
    assert found.error == pytest.approx(jackknife_error(control, treatment), rel=0.01)
    reach = half_width(found.error**2, alpha=0.05, scale=0.06)
    assert math.log1p(found.high) - math.log1p(found.lift) == pytest.approx(reach)


def test_units_not_impressions_are_what_varies():
    """Every unit twice with half of its weight changes nothing; every impression a unit of its own would."""
    control, treatment = sums_by_unit(1000, seed=3), sums_by_unit(1000, seed=4)
    clicks, n = control[:, 0].sum(), control[:, 1].sum()
    others, m = treatment[:, 0].sum(), treatment[:, 1].sum()
    independent = math.sqrt(1 / clicks - 1 / n + 1 / others - 1 / m)
    assert lift_of(control, treatment, CLICKS, alpha=0.05).error > 1.1 * independent


def test_a_covariate_from_before_narrows_the_interval():
    """By what the past explains."""
    control, treatment = sums_by_unit(3000, seed=5), sums_by_unit(3000, seed=6)
    plain = lift_of(control, treatment, CLICKS, alpha=0.05)
    adjusted = lift_of(control, treatment, CLICKS, alpha=0.05, with_covariate=True)
    assert adjusted.error < 0.98 * plain.error


def changed(**columns):
    """Return sums of 200 units of which some columns are replaced."""
    sums = sums_by_unit(200, seed=7)
    for number, name in enumerate(("clicks", "n")):
        if name in columns:
            sums[:, number] = columns[name]
    return sums


@pytest.mark.parametrize(
    ("sums", "words"),
    [
        (np.zeros((0, 5)), "B has no impressions"),
        (changed(clicks=0), "B has 0 clicks, fewer than 50"),
        (changed(clicks=3, n=3), "no impression without a click"),
        (changed(clicks=1, n=[1e6] + [3] * 199), "the weight of 1 units.*one unit has 100%"),
    ],
    ids=["no impressions", "no clicks", "only clicks", "one unit"],
)
def test_what_carries_no_interval_is_said_in_words(sums, words):
    """And nothing is computed from it."""
    assert re.search(words, fault_of(sums, "B"))
    found = lift_of(sums_by_unit(200, seed=8), sums, CLICKS, alpha=0.05, names=("A", "B"))
    assert (found.lift, found.error) == (None, None)
    assert found.why == fault_of(sums, "B")
