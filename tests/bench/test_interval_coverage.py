"""The measurement behind docs/gates.md, small."""

import numpy as np

from bench.interval_coverage import coverage, population
from tasks.evaluation.clusters import clusters_of


def test_intervals_by_cluster_cover_where_those_by_rows_do_not():
    """Of a population made here: 80 clusters of 30 rows, with a mean each."""
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(80), 30)
    values = rng.normal(size=80)[cluster] + rng.normal(size=2400)
    by_row, by_cluster = coverage(values, cluster, 300)
    assert by_row < 0.6
    assert 0.9 < by_cluster < 0.99


def test_clusters_that_mean_nothing_leave_both_right():
    """Rows drawn in groups that have nothing in common."""
    values = np.random.default_rng(2).normal(size=2400)
    by_row, by_cluster = coverage(values, np.repeat(np.arange(80), 30), 300)
    assert min(by_row, by_cluster) > 0.9


def test_the_population_is_the_half_that_the_models_have_not_learned(tmp_path):
    """Predictions of both kinds for each of its rows."""
    found = population(tmp_path / "log", 2000)
    assert found.span == (1000, 2000)
    assert all(p.shape == found.y_true.shape == (1000,) for p in found.p_click.values())
    assert len(clusters_of("C14", found.log.to_pandas(["C14"], *found.span)["C14"]).ids) == 1000
