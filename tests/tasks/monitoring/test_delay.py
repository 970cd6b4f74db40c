"""The delay of clicks: the fit against the truth, an optimizer, and impressions that are still open."""

import numpy as np
import pytest
from scipy.optimize import minimize

from tasks.monitoring.delay import N_BINS, DelayModel, bin_edges, bin_of, fit_delay

WINDOW_S = 24 * 3600.0


def drawn(n=200_000, p=0.2, mean_s=1800.0, oldest_s=7200.0, seed=3):
    """Return ages of impressions without a click so far, and the delays of the others."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(0, oldest_s, n)
    delay = np.where(rng.random(n) < p, rng.exponential(mean_s, n), np.inf)
    return age[delay > age], delay[delay <= age]


def fitted(ages, delays):
    edges = bin_edges(WINDOW_S)
    counts = [np.bincount(bin_of(one, edges), minlength=N_BINS) for one in (ages, delays)]
    return fit_delay(*counts, float(delays.sum()), WINDOW_S)


def test_the_fit_finds_the_truth_although_most_labels_are_open():
    """The click rate so far is a third too low; the model is not."""
    ages, delays = drawn()
    model = fitted(ages, delays)
    assert len(delays) / 200_000 < 0.16
    assert model.p_click == pytest.approx(0.2, rel=0.03)
    assert model.mean_s == pytest.approx(1800, rel=0.05)


def test_the_fit_is_the_maximum_that_an_optimizer_finds():
    """Chapelle's likelihood, maximized by SciPy on the unbinned ages."""
    ages, delays = drawn(n=20_000)

    def loss(parameters):
        p, rate = 1 / (1 + np.exp(-parameters[0])), np.exp(parameters[1])
        late = np.log(p) + np.log(rate) - rate * delays
        return -(late.sum() + np.log(1 - p + p * np.exp(-rate * ages)).sum()) / len(ages)

    best = minimize(
        loss, [-1.0, -7.0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-12}
    )
    model = fitted(ages, delays)
    assert model.p_click == pytest.approx(1 / (1 + np.exp(-best.x[0])), rel=2e-3)
    assert model.mean_s == pytest.approx(np.exp(-best.x[1]), rel=5e-3)


def test_without_a_click_there_is_no_model():
    """A day of one class says nothing about delays."""
    assert fit_delay(np.ones(N_BINS), np.zeros(N_BINS), 0.0, WINDOW_S) is None


def test_what_was_observed_wins_where_the_tail_is_heavier():
    """Half of the clicks come late: the exponential would call labels final too early."""
    observed = np.interp(bin_edges(WINDOW_S), [0, 600, 80_000, WINDOW_S], [0, 0.5, 0.98, 1])
    model = DelayModel(0.1, 600.0, WINDOW_S, observed)
    assert DelayModel(0.1, 600.0, WINDOW_S).mature_age_s(0.99) < 3000
    assert model.mature_age_s(0.99) > 80_000
    assert model.share_arrived(WINDOW_S) == 1
