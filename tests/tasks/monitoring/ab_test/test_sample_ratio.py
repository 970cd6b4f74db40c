"""Units by variant against the weights."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tasks.monitoring.ab_test.sample_ratio import ALPHA, check_ratio, level_of


def first_days(n_by_day):
    """Return the first day of each unit, so many on each day."""
    return np.repeat(np.arange(len(n_by_day)), n_by_day)


def test_units_by_the_weights_pass():
    """All days together, and each by itself."""
    days = np.arange(3)
    found = check_ratio(first_days([90] * 3), first_days([10] * 3), days, share=0.1, name="b")
    assert [one.day for one in found] == ["all", "1970-01-01", "1970-01-02", "1970-01-03"]
    assert not any(one.is_mismatch for one in found)


def test_the_p_value_is_that_of_the_exact_test():
    """A binomial number of units, as SciPy tests it."""
    found = check_ratio(first_days([60]), first_days([40]), np.arange(1), share=0.5, name="b")
    assert found[0].p_value == pytest.approx(binomtest(40, 100, 0.5).pvalue)


def test_one_bad_day_is_found_though_the_total_hides_it():
    """A day on which the treatment lost its units, and one on which the control did."""
    control, treatment = first_days([500, 1000, 500, 500]), first_days([500, 500, 1000, 500])
    found = check_ratio(control, treatment, np.arange(4), share=0.5, name="b")
    assert [one.is_mismatch for one in found] == [False, False, True, True, False]


def test_levels_last_for_any_number_of_days_and_treatments():
    """Their sum stays below the promise: half for all units so far, half for the days."""
    total = 2 * 3 * sum(level_of(number, 3) for number in range(1, 1000))
    assert total == pytest.approx(ALPHA, rel=0.01)
    assert total < ALPHA
