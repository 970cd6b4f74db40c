"""PSI and Jensen-Shannon divergence by hand and by simulation."""

import numpy as np
import pytest
from scipy.stats import entropy

from tasks.monitoring.bins import N_BINS, REST, UNSEEN
from tasks.monitoring.divergence import chance_of_psi, excess_psi, jensen_shannon, merged, psi


def counts(*values):
    """Return counts whose first bins are these."""
    return np.array([*values, *[0] * (N_BINS - len(values))])


def test_psi_is_the_sum_by_hand():
    """Shares 0.5 against 0.2 and so on, with half a row added to each bin."""
    p, q = np.array([50.5, 50.5]) / 101, np.array([20.5, 80.5]) / 101
    assert psi(counts(50, 50), counts(20, 80)) == pytest.approx(((p - q) * np.log(p / q)).sum())
    assert psi(counts(20, 80), counts(20, 80)) == 0


def test_jensen_shannon_is_that_of_entropies():
    """Half the Kullback-Leibler divergences to the middle, in bits."""
    p, q = np.array([50.5, 50.5]) / 101, np.array([20.5, 80.5]) / 101
    middle = (p + q) / 2
    expected = (entropy(p, middle, base=2) + entropy(q, middle, base=2)) / 2
    assert jensen_shannon(counts(50, 50), counts(20, 80)) == pytest.approx(expected)


def test_what_is_unseen_is_one_of_the_rest():
    """A distribution does not know the difference."""
    found = np.zeros(N_BINS, int)
    found[[REST, UNSEEN]] = 3, 4
    assert merged(found)[REST] == 7 and found[UNSEEN] == 4


def test_sampling_alone_is_rarely_unlikely_and_explains_psi_on_average():
    """500 draws from one distribution: chances below 5% in about 5%."""
    rng = np.random.default_rng(1)
    shares = np.r_[rng.dirichlet(np.full(20, 2.0)), np.zeros(N_BINS - 20)]
    reference = rng.multinomial(50_000, shares)
    draws = [rng.multinomial(3000, shares) for _ in range(500)]
    chances = [chance_of_psi(psi(one, reference), one, reference, (0.0, 0.0)) for one in draws]
    assert 0.02 <= np.mean(np.array(chances) < 0.05) <= 0.08
    assert abs(np.mean([excess_psi(one, reference) for one in draws])) < 1e-3
