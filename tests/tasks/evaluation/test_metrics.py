"""Metrics: hand values, scikit-learn, a slow twin, and what must not change them."""

import math

import numpy as np
import pytest
from sklearn import metrics as oracle

from tasks.evaluation import bootstrap, metrics
from tests import naive

NAMES = ("log_loss", "normalized_entropy", "roc_auc", "calibration_ratio")


@pytest.fixture
def rows():
    rng = np.random.default_rng(11)
    p_click = np.round(rng.beta(1, 5, 400), 2)  # two digits, so that there are ties
    return (rng.random(400) < p_click).astype(np.uint8), p_click


def test_log_loss_equals_scikit_learns(rows):
    """To the last digits, and on probabilities of exactly 0 and 1."""
    assert metrics.log_loss(*rows) == pytest.approx(oracle.log_loss(*rows), rel=1e-14)
    y_true, p_click = [0, 1, 1, 0], [0.0, 1.0, 0.0, 1.0]
    assert metrics.log_loss(y_true, p_click) == pytest.approx(
        oracle.log_loss(y_true, p_click), rel=1e-12
    )


def test_auc_equals_scikit_learns_and_the_slow_twin(rows):
    """With ties, which count one half."""
    assert metrics.roc_auc(*rows) == pytest.approx(oracle.roc_auc_score(*rows), rel=1e-13)
    assert metrics.roc_auc(*rows) == pytest.approx(naive.auc(*rows), rel=1e-13)


def test_normalized_entropy_of_the_click_rate_is_one(rows):
    """Knowing only the click rate is the unit."""
    y_true, _ = rows
    assert metrics.normalized_entropy(y_true, np.full(400, y_true.mean())) == pytest.approx(
        1, rel=1e-12
    )


def test_normalized_entropy_by_hand():
    """One click in four, predicted at one half: ln 2 over the entropy of 1/4."""
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert metrics.normalized_entropy([1, 0, 0, 0], [0.5] * 4) == pytest.approx(
        math.log(2) / entropy, rel=1e-14
    )


@pytest.mark.parametrize("name", NAMES)
def test_row_order_does_not_matter(rows, name):
    """Any metric, rows turned around."""
    y_true, p_click = rows
    metric = metrics.METRICS[name]
    assert metric(y_true[::-1], p_click[::-1]) == pytest.approx(metric(y_true, p_click), rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_every_row_twice_is_the_same(rows, name):
    """Metrics are means, not sums."""
    y_true, p_click = rows
    metric = metrics.METRICS[name]
    assert metric(np.tile(y_true, 2), np.tile(p_click, 2)) == pytest.approx(
        metric(y_true, p_click), rel=1e-12
    )


@pytest.mark.parametrize("name", NAMES)
def test_results_are_built_in_floats(rows, name):
    """NumPy's print with their type."""
    assert type(metrics.evaluate(*rows)[name]) is float


def test_labels_of_one_kind_leave_metrics_undefined():
    """NaN where there is nothing to divide by, and no warning."""
    found = metrics.evaluate([0, 0], [0.1, 0.2])
    assert {name for name, value in found.items() if math.isnan(value)} == {
        "normalized_entropy",
        "roc_auc",
        "calibration_ratio",
    }


@pytest.mark.parametrize(
    ("y_true", "p_click", "message"),
    [
        ([0, 2], [0.1, 0.2], "only 0 and 1"),
        ([0, 1], [0.1, 1.2], "not logits"),
        ([0, 1], [0.1, math.nan], "not logits"),
        ([0, 1], [0.1], "of one length"),
        ([], [], "above 0"),
    ],
)
def test_bad_arguments_are_named(y_true, p_click, message):
    """Every metric checks alike."""
    with pytest.raises(ValueError, match=message):
        metrics.evaluate(y_true, p_click)


def test_the_calibration_curve_accounts_for_every_row(rows):
    """Bins hold all rows and all clicks, ordered by prediction."""
    y_true, p_click = rows
    curve = metrics.calibration_curve(y_true, p_click, n_bins=10)
    assert curve["n_rows"].sum() == 400
    assert (curve["n_rows"] * curve["y_mean"]).sum() == pytest.approx(y_true.sum())
    assert (curve["n_rows"] * curve["p_mean"]).sum() == pytest.approx(p_click.sum())
    assert curve["p_mean"].is_monotonic_increasing


def test_one_prediction_is_one_bin():
    """Equal predictions cannot be told apart, however many bins there are."""
    assert metrics.calibration_curve([0, 1, 1], [0.5] * 3).to_dict("list") == {
        "p_mean": [0.5],
        "y_mean": [2 / 3],
        "n_rows": [3],
    }


def test_slices_are_the_metrics_of_their_rows(rows):
    """Each part on its own, largest first."""
    y_true, p_click = rows
    values = np.where(np.arange(400) < 300, "app", "site")
    table = metrics.by_slice(y_true, p_click, values)
    assert table.index.tolist() == ["app", "site"]
    expected = {
        "n_rows": 100,
        "ctr": y_true[300:].mean(),
        "n_impressions": 100,
        "n_clicks": y_true[300:].sum(),
        "n_expected": p_click[300:].sum(),
        **metrics.evaluate(y_true[300:], p_click[300:]),
    }
    assert table.loc["site"].to_dict() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_intervals_agree_with_the_plain_bootstrap(rows, name):
    """Poisson counts in one sorted pass, against rows drawn anew and the metric computed from scratch."""
    y_true, p_click = rows
    rng = np.random.default_rng(1)
    drawn = (rng.integers(0, 400, 400) for _ in range(1000))
    expected = np.quantile(
        [metrics.METRICS[name](y_true[pick], p_click[pick]) for pick in drawn], [0.025, 0.975]
    )
    found = metrics.bootstrap_interval(name, y_true, p_click, n_resamples=4000, seed=2)
    np.testing.assert_allclose(found, expected, atol=0.12 * np.ptp(expected))


def test_counts_are_poisson():
    """Shares of 0, 1, 2, ... rows in a resample are those of a mean of 1."""
    thresholds = np.array(bootstrap._THRESHOLDS)
    counts = np.array([bootstrap._count(np.uint64(99), row, thresholds) for row in range(40_000)])
    expected = [math.exp(-1) / math.factorial(k) for k in range(6)]
    np.testing.assert_allclose(np.bincount(counts, minlength=6)[:6] / 40_000, expected, atol=0.008)


def test_intervals_repeat_themselves_and_hold_the_value(rows):
    """One seed, one interval; another seed, another."""
    one, again, other = (
        metrics.bootstrap_interval("roc_auc", *rows, seed=seed) for seed in (1, 1, 2)
    )
    assert one == again != other
    assert one[0] < metrics.roc_auc(*rows) < one[1]


def test_a_paired_difference_is_narrower_than_the_intervals(rows):
    """Two models that share the luck of the rows."""
    y_true, p_click = rows
    low, high = metrics.bootstrap_difference("log_loss", y_true, 0.9 * p_click + 0.02, p_click)
    alone = metrics.bootstrap_interval("log_loss", y_true, p_click)
    assert high - low < (alone[1] - alone[0]) / 2
    value = metrics.log_loss(y_true, 0.9 * p_click + 0.02) - metrics.log_loss(y_true, p_click)
    assert low < value < high


def test_a_difference_does_not_depend_on_who_is_sorted_how(rows):
    """A model whose ranking is turned around sees the same resamples: the AUCs add up to one in each."""
    y_true, p_click = rows
    how = {"n_resamples": 50, "seed": 3, "weight": None, "cluster": None}
    one = bootstrap._resampled("roc_auc", y_true, p_click, **how)
    other = bootstrap._resampled("roc_auc", y_true, 1 - p_click, **how)
    np.testing.assert_allclose(one + other, 1, rtol=1e-12)


def test_an_interval_of_nothing_defined_is_nan():
    """Without clicks there is no AUC on any resample."""
    assert all(map(math.isnan, metrics.bootstrap_interval("roc_auc", [0, 0], [0.1, 0.2])))


@pytest.mark.parametrize(
    ("name", "knobs", "message"),
    [
        ("accuracy", {}, "must be one of"),
        ("log_loss", {"n_resamples": 0}, "at least 1"),
        ("log_loss", {"level": 1}, "between 0 and 1"),
    ],
)
def test_bad_bootstrap_arguments_are_named(rows, name, knobs, message):
    """The message says what there is."""
    with pytest.raises(ValueError, match=message):
        metrics.bootstrap_interval(name, *rows, **knobs)


@pytest.fixture
def weighted(rows):
    """Return labels, probabilities and impressions per row; and the same rows, repeated."""
    weight = np.random.default_rng(2).integers(1, 9, 400)
    return (*rows, weight.astype(float)), tuple(np.repeat(one, weight) for one in rows)


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_is_a_number_of_equal_rows(weighted, name):
    """For each metric, to the last digits."""
    one, repeated = weighted
    assert metrics.METRICS[name](*one) == pytest.approx(metrics.METRICS[name](*repeated), rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_weights_leave_scikit_learns_numbers(weighted, name):
    """The second witness, of those that scikit-learn has; fractions too."""
    (y_true, p_click, weight), _ = weighted
    weight = weight / 3
    oracles = {"log_loss": oracle.log_loss, "roc_auc": oracle.roc_auc_score}
    found = metrics.METRICS[name](y_true, p_click, weight)
    if name in oracles:
        assert found == pytest.approx(
            oracles[name](y_true, p_click, sample_weight=weight), rel=1e-12
        )
    assert found == pytest.approx(metrics.METRICS[name](y_true, p_click, 3 * weight), rel=1e-12)


def test_slices_and_curves_take_weights(weighted):
    """Each part and each bin as if its rows were repeated."""
    (y_true, p_click, weight), (y_all, p_all) = weighted
    parts = np.where(p_click > 0.1, "high", "low")
    table = metrics.by_slice(y_true, p_click, parts, weight).drop(columns="n_rows")
    expected = metrics.by_slice(y_all, p_all, np.where(p_all > 0.1, "high", "low"))
    assert table.loc["low"].to_dict() == pytest.approx(expected.loc["low"].drop("n_rows").to_dict())
    curve = metrics.calibration_curve(y_true, p_click, n_bins=1, weight=weight)
    assert curve["p_mean"].item() == pytest.approx(p_all.mean())
    assert curve["y_mean"].item() == pytest.approx(y_all.mean())


@pytest.mark.parametrize("name", NAMES)
def test_resamples_of_weighted_rows_are_those_of_the_repeated_rows(weighted, name):
    """The same counts come from the same impressions."""
    one, repeated = weighted
    (y_true, p_click, weight), how = one, {"n_resamples": 30, "seed": 5}
    found = metrics.bootstrap_interval(name, y_true, p_click, weight=weight, **how)
    assert found == pytest.approx(metrics.bootstrap_interval(name, *repeated, **how), rel=1e-12)


@pytest.mark.parametrize("weight", [0.3, 20.5, 200.0])
def test_counts_of_any_weight_have_mean_and_variance_of_the_weight(weight):
    """As Poisson's have."""
    n = 4000
    counts = [
        bootstrap._weighted_count(np.uint64(9), row, weight, np.array(bootstrap._THRESHOLDS))
        for row in range(n)
    ]
    assert np.mean(counts) == pytest.approx(weight, abs=4 * math.sqrt(weight / n))
    assert np.var(counts) == pytest.approx(weight, rel=0.15)


@pytest.mark.parametrize("weight", [[1.0], [1.0, 0.0], [1.0, math.nan], [1.0, math.inf]])
def test_weights_are_checked(weight):
    """One per row, above 0 and finite."""
    with pytest.raises(ValueError, match="weight must"):
        metrics.log_loss([0, 1], [0.1, 0.2], weight)
