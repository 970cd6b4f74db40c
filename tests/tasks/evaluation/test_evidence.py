"""What clicks can tell: against SciPy's distributions, and against draws of the clicks themselves."""

import math
import warnings

import numpy as np
import pytest
from scipy import stats

from tasks.evaluation import metrics
from tasks.evaluation.evidence import (
    chance_of_ratio,
    clicks_needed,
    holm,
    promise,
    ratio_interval,
    tails,
)


@pytest.mark.parametrize(("clicks", "n", "expected"), [(0, 50, 2.0), (3, 50, 9.5), (50, 50, 40.0)])
def test_tails_are_those_of_the_binomial_distribution(clicks, n, expected):
    """Of whole counts, where SciPy has them too."""
    fewer, more = tails(clicks, n, expected)
    assert fewer == pytest.approx(stats.binom.cdf(clicks, n, expected / n), rel=1e-10)
    assert more == pytest.approx(stats.binom.sf(clicks - 1, n, expected / n), rel=1e-10)


def test_unequal_probabilities_have_lighter_tails():
    """Hoeffding's theorem, by drawing: the bound holds, and is no wild one."""
    rng = np.random.default_rng(1)
    p = rng.beta(0.5, 3, 400)
    drawn = (rng.random((20_000, 400)) < p).sum(axis=1)
    for clicks in (int(p.sum()) - 15, int(p.sum()) + 15):
        fewer, more = tails(clicks, 400, p.sum())
        bound, share = (fewer, (drawn <= clicks).mean()) if clicks < p.sum() else (more, (drawn >= clicks).mean())  # fmt: skip
        assert share <= bound < 4 * share


def test_the_interval_holds_the_ratios_that_the_clicks_do_not_refute():
    """Its ends are those of scikit-learn's neighbor, SciPy: Clopper and Pearson's, turned round."""
    low, high = ratio_interval(30, 1000, 45.0)
    exact = stats.binomtest(30, 1000).proportion_ci(0.95, method="exact")
    assert (low, high) == pytest.approx((0.045 / exact.high, 0.045 / exact.low))
    assert ratio_interval(0, 100, 5.0)[1] == np.inf
    assert ratio_interval(100, 100, 90.0)[0] == pytest.approx(0.9)


def test_a_ratio_far_off_is_no_chance_but_the_models_own_error_is_allowed_for():
    """30% too high with 200 clicks; not if the whole model is that much too high."""
    assert chance_of_ratio(200, 10_000, 260.0) < 0.001
    assert chance_of_ratio(200, 10_000, 260.0, overall=1.3) == 1
    assert chance_of_ratio(200, 10_000, 140.0) < 0.001
    assert chance_of_ratio(200, 10_000, 260.0, overall=0.7) < 0.001  # of two readings, the lenient


def test_holm_rejects_one_after_the_other():
    """Each against the number of hypotheses that are left; equal to a slow twin on drawn p-values."""
    p_values = np.random.default_rng(0).random(40) ** 6
    order, expected = np.argsort(p_values), np.zeros(40, dtype=bool)
    for place, number in enumerate(order):
        if p_values[number] > 0.05 / (40 - place):
            break
        expected[number] = True
    assert expected.any()
    np.testing.assert_array_equal(holm(p_values, 0.05), expected)
    assert holm([], 0.05).shape == (0,)


def test_the_promise_of_right_predictions_is_what_drawn_clicks_give():
    """The expected entropy, and the chance to find one as high, by drawing each row's label."""
    rng = np.random.default_rng(3)
    p = rng.beta(0.4, 20, 3000)
    drawn = [
        metrics.normalized_entropy((rng.random(3000) < p).astype(float), p) for _ in range(400)
    ]
    found = float(np.quantile(drawn, 0.9))
    promised = promise(p, None, found)
    assert promised.entropy == pytest.approx(np.mean(drawn), abs=0.02)
    assert promised.chance == pytest.approx(0.1, abs=0.05)


def test_equal_predictions_promise_nothing():
    """They know only the click rate, whatever the clicks are."""
    assert promise(np.full(1000, 0.02), None, 1.01).entropy == pytest.approx(1)


def test_a_weight_is_a_number_of_rows_for_the_promise():
    """Nearly: the classes are the same, the draws are as well."""
    p, n = np.array([0.01, 0.02, 0.3, 0.1]), np.array([500, 300, 40, 60])
    weighted = promise(p, n.astype(float), 1.0)
    repeated = promise(np.repeat(p, n), None, 1.0)
    assert weighted.entropy == pytest.approx(repeated.entropy, rel=1e-9)
    assert weighted.chance == pytest.approx(repeated.chance, abs=0.02)


def test_enough_clicks_keep_chance_inside_the_bounds():
    """By the Poisson distribution; one click fewer does not."""
    needed = clicks_needed((0.8, 1.25), 0.05)

    def outside(n):
        counts = np.arange(1, 4 * n)
        ratios = n / counts
        return stats.poisson.pmf(counts, n)[(ratios < 0.8) | (ratios > 1.25)].sum()

    assert outside(needed) <= 0.05 < outside(needed - 1)


def test_what_is_not_known_rejects_nothing():
    """A chance that is NaN is no evidence; predictions of 0 have one."""
    assert holm([math.nan, 0.001, 0.9], 0.05).tolist() == [False, True, False]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert chance_of_ratio(3, 100, 0.0, overall=0.0) <= 1
