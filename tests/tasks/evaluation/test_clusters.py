"""Rows that hang together, and intervals that know it."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tasks.errors import ConfigError
from tasks.evaluation.bootstrap import bootstrap_difference, bootstrap_interval
from tasks.evaluation.clusters import (
    check_cluster,
    clusters_of,
    design_effect,
    find_clusters,
    how_drawn,
)
from tasks.evaluation.rows import mean_with_error, row_losses
from tasks.schema import Schema
from tests.logs import SMALL


def test_a_value_has_one_cluster_in_whatever_order_it_comes():
    """A hash of its text, so that another log, or another order, draws it alike."""
    one = clusters_of("site", ["a", "b", "a"]).ids
    other = clusters_of("site", pd.Categorical(["b", "z", "a"], ["z", "b", "a"])).ids
    assert one[0] == one[2] == other[2]
    assert one[1] == other[0]
    assert len({*one, *other}) == 3


def test_missing_values_do_not_hang_together():
    """Two rows without a campaign are of no common campaign."""
    found = clusters_of("site", [None, None, "a"])
    assert len(set(found.ids)) == found.n_clusters == 3


def test_a_cluster_is_drawn_as_a_whole():
    """Five equal rows of a cluster are one row: the very same interval."""
    rng = np.random.default_rng(3)
    y_true, p_click = (rng.random(300) < 0.3).astype(float), rng.uniform(0.1, 0.5, 300)
    for metric in ("log_loss", "roc_auc", "calibration_ratio", "normalized_entropy"):
        alone = bootstrap_interval(metric, y_true, p_click, cluster=np.arange(300))
        fives = [np.repeat(one, 5) for one in (y_true, p_click, np.arange(300))]
        assert bootstrap_interval(metric, *fives[:2], cluster=fives[2]) == pytest.approx(alone)
        assert alone == bootstrap_interval(metric, y_true, p_click)


def test_a_weight_is_the_row_repeated_in_its_cluster():
    """Of three impressions in a row all are drawn, or none."""
    y_true, p_click, cluster = (
        np.array([1.0, 0, 0, 1]),
        np.array([0.4, 0.2, 0.3, 0.1]),
        [5, 5, 6, 7],
    )
    weight = np.array([3, 1, 2, 1])
    repeated = [np.repeat(one, weight) for one in (y_true, p_click, cluster)]
    assert bootstrap_interval(
        "log_loss", y_true, p_click, weight=weight, cluster=cluster
    ) == pytest.approx(bootstrap_interval("log_loss", *repeated[:2], cluster=repeated[2]))


def together(seed: int, n_clusters: int = 80, n_rows: int = 40):
    """Return labels, predictions that know nothing of the clusters, and those: click rates differ between clusters."""
    rng = np.random.default_rng(seed)
    rate = np.repeat(1 / (1 + np.exp(-rng.normal(-1.5, 1.0, n_clusters))), n_rows)
    p_click = np.full(len(rate), 0.22)
    y_true = (rng.random(len(rate)) < rate).astype(float)
    return y_true, p_click, np.repeat(np.arange(n_clusters), n_rows)


def test_the_bootstrap_and_the_sandwich_agree():
    """Two ways to one standard error, by cluster as by row."""
    y_true, p_click, cluster = together(0)
    losses = row_losses(y_true, p_click)
    for by in (None, cluster):
        low, high = bootstrap_interval("log_loss", y_true, p_click, n_resamples=2000, cluster=by)
        error = mean_with_error(losses, cluster=by)[1]
        assert (high - low) / (2 * 1.96) == pytest.approx(error, rel=0.06)


def test_an_interval_by_cluster_covers_and_one_by_row_does_not():
    """Of 150 draws of clusters, how often the true loss lies inside; 95% are promised."""
    losses = [row_losses(*together(seed)[:2]) for seed in range(1000, 1150)]
    truth = np.mean([row_losses(*together(seed)[:2]).mean() for seed in range(5000, 5400)])
    cluster = together(0)[2]
    covered = {}
    for name, by in (("row", None), ("cluster", cluster)):
        means, errors = zip(*(mean_with_error(one, cluster=by) for one in losses), strict=True)
        covered[name] = np.mean(np.abs(np.array(means) - truth) < 1.96 * np.array(errors))
    assert covered["cluster"] > 0.88
    assert covered["row"] < 0.7


def test_a_paired_difference_by_cluster_is_narrower_than_a_loss():
    """The models share the luck of the clusters as well."""
    y_true, p_click, cluster = together(1)
    low, high = bootstrap_difference("log_loss", y_true, p_click, p_click * 1.1, cluster=cluster)
    alone = bootstrap_interval("log_loss", y_true, p_click, cluster=cluster)
    assert high - low < (alone[1] - alone[0]) / 3


def test_the_design_effect_finds_what_hangs_together():
    """Near one where the clusters mean nothing."""
    y_true, p_click, cluster = together(2)
    losses = row_losses(y_true, p_click)
    assert design_effect(losses, cluster) > 3
    assert design_effect(losses, np.random.default_rng(0).permutation(cluster)) < 1.6


class Rows(SimpleNamespace):
    """Test rows of a frame."""

    span = (0, 0)
    weight = None

    @property
    def n_rows(self):
        return len(self.frame)

    @property
    def log(self):
        return SimpleNamespace(to_pandas=lambda names, *span: self.frame[names])


SCHEMA = Schema.from_dict(
    {
        "name": "shops",
        "label": "click",
        "fields": {"shop": {}, "noise": {}, "size": {}, "floor": {"type": "number"}},
    }
)


def shop_rows():
    """Return test rows whose clicks differ by shop; the size has two values."""
    y_true, p_click, cluster = together(4)
    rng = np.random.default_rng(4)
    frame = pd.DataFrame(
        {
            "shop": [f"s{one}" for one in cluster],
            "noise": [f"n{one}" for one in rng.integers(0, 90, len(cluster))],
            "size": np.where(cluster < 40, "big", "small"),
        }
    )
    return Rows(frame=frame), row_losses(y_true, p_click)


def test_auto_takes_the_field_whose_values_share_most_luck():
    """Not the one of two values: two clusters are no basis for an interval."""
    found = find_clusters(*shop_rows(), SCHEMA)
    assert (found.field, found.n_clusters) == ("shop", 80)
    assert how_drawn(found) == "shop, 80 clusters"


def test_rows_that_do_not_hang_together_are_drawn_one_by_one():
    """No field shares more luck than chance gives it."""
    rows, losses = shop_rows()
    shuffled = np.random.default_rng(5).permutation(losses)
    assert find_clusters(rows, shuffled, SCHEMA) is None
    assert find_clusters(rows, losses, SCHEMA, None) is None
    assert how_drawn(None) == "single rows"


def test_a_named_field_is_taken_and_said_to_be_few():
    """The person knows better; the interval is too narrow all the same."""
    found = find_clusters(*shop_rows(), SCHEMA, "size")
    assert how_drawn(found) == "size, 2 clusters (few: the true interval is wider)"


@pytest.mark.parametrize(
    ("field", "why"),
    [("shops", "is no field of the schema"), ("floor", "is a number")],
)
def test_a_cluster_is_a_category_of_the_schema(field, why):
    """Told before anything starts, with those that can be named."""
    with pytest.raises(ConfigError, match=f"{why}; name one of shop, noise, size, or auto"):
        check_cluster(field, SCHEMA)
    check_cluster("auto", SMALL)


def test_the_largest_of_many_fields_by_chance_is_no_cluster():
    """Fifteen random fields and independent rows: with so few clusters each the largest effect is 1.2 and more."""
    fields = [f"f{n}" for n in range(15)]
    schema = Schema.from_dict(
        {"name": "x", "label": "click", "fields": {name: {} for name in fields}}
    )
    n_found = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        p = rng.beta(0.5, 25, 3000).clip(1e-6)
        losses = row_losses((rng.random(3000) < p).astype(float), p)
        frame = pd.DataFrame({name: rng.integers(0, 80, 3000).astype(str) for name in fields})
        n_found += find_clusters(Rows(frame=frame), losses, schema) is not None
    assert n_found <= 1


def test_a_cluster_of_most_impressions_leaves_few():
    """Its rows may be few: it is impressions that share their luck."""
    values, weight = ["big", *map(str, range(200))], np.array([9000.0, *np.ones(200)])
    assert clusters_of("ad", values).n_effective == pytest.approx(201)
    assert clusters_of("ad", values, weight).n_effective < 1.1
    repeated = np.repeat(values, weight.astype(int))
    assert clusters_of("ad", values, weight).n_effective == pytest.approx(
        clusters_of("ad", repeated).n_effective
    )
