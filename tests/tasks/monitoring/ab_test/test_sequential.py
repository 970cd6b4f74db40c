"""Intervals that hold at every look: closed form against the integral, and their promise in simulation."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from tasks.monitoring.ab_test.sequential import (
    always_valid_p,
    error_needed,
    half_width,
    smallest_effect,
)


def mixture_ratio(estimate, variance, scale):
    """Return the likelihood of the estimate under a normal mixture of effects, over that under none, by integration."""
    error = math.sqrt(variance)
    mixed = quad(
        lambda effect: norm.pdf(estimate, effect, error) * norm.pdf(effect, 0, scale),
        -12 * scale,
        12 * scale,
        points=[0.0, estimate],
        limit=400,
    )[0]
    return mixed / norm.pdf(estimate, 0, error)


@pytest.mark.parametrize("variance", [1e-5, 1e-4, 1e-2])
@pytest.mark.parametrize("scale", [0.01, 0.06])
def test_the_interval_ends_where_the_integral_of_the_mixture_says(variance, scale):
    """The likelihood ratio there is 1 over alpha."""
    edge = half_width(variance, alpha=0.05, scale=scale)
    assert mixture_ratio(edge, variance, scale) == pytest.approx(20, rel=1e-6)


@pytest.mark.parametrize("estimate", [0.0, 0.005, -0.03])
def test_the_p_value_is_one_over_the_mixture_ratio(estimate):
    """At most 1, as no effect is never refuted by less than nothing."""
    by_integral = min(1.0, 1 / mixture_ratio(estimate, 1e-4, 0.06))
    assert always_valid_p(estimate, 1e-4, scale=0.06) == pytest.approx(by_integral, rel=1e-6)


def test_the_boundary_is_that_of_asymptotic_confidence_sequences():
    """Theorem 2.2 of Waudby-Smith et al., with t observations of variance sigma squared."""
    t, sigma, rho, alpha = 400, 2.0, 0.1, 0.1
    theirs = sigma * math.sqrt(
        2 * (t * rho**2 + 1) / (t**2 * rho**2) * math.log(math.sqrt(t * rho**2 + 1) / alpha)
    )
    ours = half_width(sigma**2 / t, alpha=alpha, scale=sigma * rho)
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_all_looks_together_miss_no_more_often_than_promised():
    """Sums of independent normal numbers without an effect, looked at 500 times; one-look intervals miss half of the time."""
    rng = np.random.default_rng(3)
    looks = np.arange(1, 501)
    means = rng.normal(size=(2000, 500)).cumsum(axis=1) / looks
    reach = np.array([half_width(1 / n, alpha=0.05, scale=0.2) for n in looks])
    missed = (np.abs(means) > reach).any(axis=1).mean()
    peeked = (np.abs(means) > 1.96 / np.sqrt(looks)).any(axis=1).mean()
    assert 0.005 < missed < 0.05
    assert peeked > 0.4


def test_what_is_computed_to_be_seen_is_seen_as_often():
    """Effects drawn at one look, against the power that was asked for."""
    effect = smallest_effect(0.01, alpha=0.05, power=0.8, scale=0.06)
    drawn = np.random.default_rng(4).normal(effect, 0.01, 20_000)
    seen = np.mean(drawn > half_width(0.01**2, alpha=0.05, scale=0.06))
    assert seen == pytest.approx(0.8, abs=0.01)


def test_the_error_needed_is_where_the_effect_is_just_seen():
    """One function undoes the other."""
    error = error_needed(0.02, alpha=0.05, power=0.8, scale=0.06)
    assert smallest_effect(error, alpha=0.05, power=0.8, scale=0.06) == pytest.approx(0.02)
