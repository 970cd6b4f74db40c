"""Models against truths of several shapes."""

import numpy as np
import pytest

from bench.shapes import distance, judge, table_of
from tasks.evaluation.metrics import log_loss


def test_the_distance_is_the_expected_log_loss_above_the_truth():
    """By hand for one row; by many clicks for the mean; the truth itself is at 0."""
    assert distance(np.array([0.5]), np.array([0.25])) == pytest.approx(0.5 * np.log(2 * 2 / 3))
    rng = np.random.default_rng(7)
    p_true, p_click = rng.uniform(0.05, 0.4, 200_000), rng.uniform(0.05, 0.4, 200_000)
    clicks = (rng.random(200_000) < p_true).astype(float)
    lost = log_loss(clicks, p_click) - log_loss(clicks, p_true)
    assert distance(p_true, p_click) == pytest.approx(lost, abs=0.01)
    assert distance(p_true, p_true) == 0


def test_a_model_is_judged_against_the_truth(tmp_path):
    """On few rows: nearer than the base rate, which comes first."""
    models = {"ftrl": {"kind": "ftrl", "params": {}, "search": {"method": "fixed"}}}
    found = judge("trees", models, n_rows=5000, seed=7, folder=tmp_path)
    assert [one["model"] for one in found] == ["base rate", "ftrl"]
    assert 0 < found[1]["distance"] < found[0]["distance"]
    header, _, row = table_of(found).splitlines()
    assert (header, row.count("|")) == ("| shape | base rate | ftrl |", 4)
