"""Metrics from sums are those of single rows; intervals hold the truth."""

import numpy as np
import pytest

from tasks.evaluation import metrics as by_row
from tasks.monitoring.quality import METRICS, chance_of_calibration, metrics, with_intervals


def sums_of(y, p, group, n_groups=50):
    """Return sums by group."""
    loss = by_row.row_losses(y, p)
    columns = [np.ones(len(y)), y, p, loss]
    return np.stack([np.bincount(group, one, n_groups) for one in columns], axis=1)


def rows(rng, n=4000, off=1.0):
    """Return labels drawn from probabilities, predictions, and random groups."""
    p = rng.beta(2, 10, n)
    return (rng.random(n) < p).astype(float), np.minimum(off * p, 1), rng.integers(0, 50, n)


def test_metrics_of_sums_are_those_of_rows():
    """Against tasks.evaluation."""
    y, p, group = rows(np.random.default_rng(1))
    found = metrics(sums_of(y, p, group).sum(axis=0))
    expected = by_row.evaluate(y, p)
    assert {name: float(found[name]) for name in METRICS[2:]} == pytest.approx(
        {name: expected[name] for name in METRICS[2:]}
    )


def test_the_interval_of_log_loss_is_that_of_the_mean():
    """The jackknife of independent rows has the standard error of a mean."""
    y, p, group = rows(np.random.default_rng(2), n=40_000)
    found = with_intervals(sums_of(y, p, group))
    losses = by_row.row_losses(y, p)
    half = 2.01 * losses.std(ddof=1) / np.sqrt(len(losses))
    assert (found["log_loss_high"] - found["log_loss_low"]) / 2 == pytest.approx(half, rel=0.3)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """95% intervals of a ratio that is 1, over 200 draws."""
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        found = with_intervals(sums_of(*rows(rng, n=2000)))
        hits += found["calibration_ratio_low"] <= 1 <= found["calibration_ratio_high"]
    assert 184 <= hits <= 200


def test_the_chance_of_right_predictions_is_rarely_small():
    """And that of predictions 1.5 times too high is."""
    rng = np.random.default_rng(4)
    chances = [chance_of_calibration(sums_of(*rows(rng, n=1000))) for _ in range(300)]
    assert np.mean(np.array(chances) < 0.05) <= 0.06
    assert chance_of_calibration(sums_of(*rows(rng, n=20_000, off=1.5))) < 1e-6


def test_labels_of_one_class_and_no_rows_leave_metrics_undefined():
    """NaN and open intervals, no error."""
    nothing = with_intervals(np.zeros((50, 4)))
    assert nothing["n_exposures"] == 0 and np.isnan(nothing["log_loss"])
    y, p, group = rows(np.random.default_rng(5))
    found = with_intervals(sums_of(0 * y, p, group))
    assert found["ctr"] == 0 and np.isnan(found["calibration_ratio"])
    assert chance_of_calibration(sums_of(0 * y, p, group)) < 1e-6
