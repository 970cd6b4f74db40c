"""The measurement behind docs/ab_test.md, small."""

import numpy as np
import pytest

from bench.ab_test import looks_of, ratio_alarms, share_seen, shares
from tasks.monitoring.ab_test.simulated import World

WORLD = World(60, 30, ctr=0.2, concentration=5.0)


@pytest.mark.slow
def test_thirty_daily_looks_without_an_effect_keep_the_promise():
    """Where intervals of one look, and even more those of independent impressions, do not."""
    by_impression, single, sequence = shares(looks_of(WORLD, seed=seed) for seed in range(24))[:, 0]
    assert sequence <= 0.13  # 5% promised; of 24 experiments
    assert by_impression > single > 2 * max(sequence, 0.05)


@pytest.mark.slow
def test_a_lift_is_seen_as_often_as_computed():
    """80% at the last look, within the error of 20 experiments."""
    _, at_last, at_any = share_seen(WORLD, n_draws=20)
    assert 0.55 <= at_last <= 0.97
    assert at_any >= at_last


@pytest.mark.slow
def test_lost_units_are_found_and_whole_ones_are_not():
    """A fifth of the treatment's units, within two weeks."""
    found, day = ratio_alarms(World(600, 14, return_chance=0.0, lost=0.2), n_draws=3)
    assert found == 1
    assert 1 <= day <= 14
    assert ratio_alarms(World(100, 14, return_chance=0.0), n_draws=3)[0] == 0


def test_experiments_without_an_interval_do_not_count():
    """Too few clicks on every day."""
    assert looks_of(World(1, 2), seed=1) is None
    assert np.isnan(ratio_alarms(World(1, 2), n_draws=1)[1])
