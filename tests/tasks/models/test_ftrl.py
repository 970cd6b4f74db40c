"""FTRL-proximal: scikit-learn's checks, two fast kernels, one slow twin, gradients by differences."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.utils.estimator_checks import parametrize_with_checks

from tasks.errors import ConfigError, ContractError
from tasks.hashing.codes import split_codes
from tasks.models.ftrl import FTRLProximal
from tasks.models.sgd import to_csr
from tests import naive
from tests.tasks.models.checks import check_learner
from tests.tasks.models.rows import random_codes

KNOBS = {"alpha": 0.2, "beta": 0.7, "l1": 0.3, "l2": 0.4}
WEIGHT_IS_NOT_REPETITION = (
    "each update moves the rate, so a row of weight 2 is not two rows; the class says so"
)
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": WEIGHT_IS_NOT_REPETITION,
    "check_sample_weight_equivalence_on_sparse_data": WEIGHT_IS_NOT_REPETITION,
}


def test_it_is_a_learner_of_the_pipeline():
    """All that training and serving need."""
    check_learner("ftrl")


@parametrize_with_checks([FTRLProximal()], expected_failed_checks=lambda _: EXPECTED)
def test_scikit_learns_own_checks(estimator, check):
    """Everything that scikit-learn expects of a classifier."""
    check(estimator)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def rows(rng):
    """120 rows of 5 tokens in 16 buckets: many rows have two tokens in one bucket."""
    return random_codes(rng, n_rows=120, n_tokens=5, n_features=16), rng.integers(0, 2, 120)


def naive_rows(codes):
    index, sign = split_codes(codes)
    return [
        list(zip(i, s, strict=True)) for i, s in zip(index.tolist(), sign.tolist(), strict=True)
    ]


def test_the_codes_kernel_does_what_the_paper_says(rows):
    """State and loss equal those of the slow twin, tokens that share a bucket included."""
    codes, y = rows
    learner = FTRLProximal(n_features=16, **KNOBS).partial_fit_codes(codes, y)
    z, n, total = naive.ftrl(naive_rows(codes), y, n_features=16, **KNOBS)
    np.testing.assert_allclose(learner.state_, np.column_stack([z, n]), rtol=1e-11, atol=1e-12)
    assert learner.loss_ == pytest.approx(total / 120, rel=1e-12)


def test_the_two_kernels_are_twins(rows):
    """Codes and a matrix with duplicates left apart end in one state."""
    codes, y = rows
    by_codes = FTRLProximal(n_features=16, **KNOBS).partial_fit_codes(codes, y)
    by_matrix = FTRLProximal(**KNOBS).partial_fit(to_csr(codes, 16), y)
    np.testing.assert_allclose(by_codes.state_, by_matrix.state_, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(
        by_codes.decision_codes(codes), by_matrix.decision_function(to_csr(codes, 16)), atol=1e-12
    )


def test_summed_duplicates_learn_differently(rows):
    """The documented departure: one entry of value 2 squares a doubled gradient."""
    codes, y = rows
    summed = to_csr(codes, 16)
    summed.sum_duplicates()
    apart, together = (
        FTRLProximal(**KNOBS).partial_fit(X, y).state_ for X in (to_csr(codes, 16), summed)
    )
    assert np.abs(apart - together).max() > 1e-3


def test_values_of_any_size_follow_the_twin(rng):
    """The matrix kernel scales gradients by the feature's value."""
    X = sparse.random_array((60, 9), density=0.4, rng=rng, format="csr") * 3
    y = rng.integers(0, 2, 60)
    learner = FTRLProximal(**KNOBS).partial_fit(X, y)
    dense = [[(j, row[j]) for j in np.flatnonzero(row)] for row in X.toarray()]
    z, n, _ = naive.ftrl(dense, y, n_features=9, **KNOBS)
    np.testing.assert_allclose(learner.state_, np.column_stack([z, n]), rtol=1e-10, atol=1e-12)


def test_row_weights_follow_the_twin(rows, rng):
    """A weight multiplies the gradient and the loss."""
    codes, y = rows
    weights = rng.random(120) * 3
    learner = FTRLProximal(n_features=16, **KNOBS).partial_fit_codes(
        codes, y, sample_weight=weights
    )
    z, n, total = naive.ftrl(naive_rows(codes), y, n_features=16, row_weights=weights, **KNOBS)
    np.testing.assert_allclose(learner.state_, np.column_stack([z, n]), rtol=1e-11, atol=1e-12)
    assert learner.loss_ == pytest.approx(total / weights.sum(), rel=1e-12)


def test_a_row_of_weight_zero_is_no_row(rows):
    """Half of the rows at weight 0 are as good as removed."""
    codes, y = rows
    weights = np.arange(120) % 2
    weighted = FTRLProximal(n_features=16, **KNOBS).partial_fit_codes(
        codes, y, sample_weight=weights
    )
    removed = FTRLProximal(n_features=16, **KNOBS).partial_fit_codes(codes[1::2], y[1::2])
    np.testing.assert_array_equal(weighted.state_, removed.state_)


def test_the_step_is_the_gradient_of_the_loss(rows):
    """What a row adds to z, without the proximal part, is the finite difference of its log loss."""
    codes, y = rows
    learner = FTRLProximal(n_features=16, **KNOBS).partial_fit_codes(codes, y)
    row, label = np.array([[1, ~4, 7]], dtype=np.int32), 1
    weights, bias = learner.coef_[0], learner.intercept_[0]

    def loss(moved):
        logit = moved[1] - moved[4] + moved[7] + bias
        return np.logaddexp(0, logit) - label * logit

    before = learner.snapshot()
    learner.partial_fit_codes(row, [label])
    for index in (1, 4, 7):
        step = np.zeros(16)
        step[index] = 1e-6
        expected = (loss(weights + step) - loss(weights - step)) / 2e-6
        sigma = (np.sqrt(learner.state_[index, 1]) - np.sqrt(before[index, 1])) / KNOBS["alpha"]
        gradient = learner.state_[index, 0] - before[index, 0] + sigma * weights[index]
        assert gradient == pytest.approx(expected, abs=1e-8)


def test_rows_in_any_batches_end_in_the_same_bits(rows):
    """One batch, many batches, a second run: equal to the last bit."""
    codes, y = rows
    whole = FTRLProximal(n_features=16, **KNOBS).partial_fit_codes(codes, y)
    pieces = FTRLProximal(n_features=16, **KNOBS)
    for begin in range(0, 120, 7):
        pieces.partial_fit_codes(codes[begin : begin + 7], y[begin : begin + 7])
    np.testing.assert_array_equal(whole.state_, pieces.state_)


def test_extreme_logits_stay_finite():
    """A logit of thousands costs its own size, and neither overflows nor becomes NaN."""
    learner = FTRLProximal(alpha=1.0, beta=1.0, l1=0, l2=0, n_features=2, fit_intercept=False)
    learner.partial_fit_codes(np.array([[0]], dtype=np.int32), [1])
    learner.state_[0] = (-5000.0, 0.0)
    row = np.array([[0]], dtype=np.int32)
    assert learner.decision_codes(row)[0] == 5000
    assert learner.predict_codes(row)[0] == 1
    learner.partial_fit_codes(row, [0])
    assert learner.loss_ == 5000
    assert np.isfinite(learner.state_).all()


def test_l1_keeps_rare_weights_at_exactly_zero(rows):
    """A gradient sum below l1 leaves no weight, which is what makes the model sparse."""
    codes, y = rows
    learner = FTRLProximal(n_features=64, alpha=0.1, l1=2.0).partial_fit_codes(codes, y)
    assert np.count_nonzero(learner.coef_[0][16:]) == 0
    assert (
        np.count_nonzero(FTRLProximal(n_features=16, l1=1e9).partial_fit_codes(codes, y).coef_) == 0
    )


def test_a_snapshot_brings_back_what_was_learnt(rows):
    """Training on after a snapshot does not reach it."""
    codes, y = rows
    learner = FTRLProximal(n_features=16).partial_fit_codes(codes, y)
    snapshot, expected = learner.snapshot(), learner.decision_codes(codes)
    learner.partial_fit_codes(codes, 1 - y).restore(snapshot)
    np.testing.assert_array_equal(learner.decision_codes(codes), expected)


def test_read_only_rows_are_learnt_alike(rows):
    """Memory-mapped batches cannot be written to, and need not be."""
    codes, y = rows
    locked = codes.copy()
    locked.flags.writeable = False
    one, other = (
        FTRLProximal(n_features=16).partial_fit_codes(c, y).state_ for c in (codes, locked)
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("code", [16, ~16])
def test_codes_beyond_the_weights_are_refused(code):
    """They would be memory that is not ours."""
    with pytest.raises(ContractError, match="model's own contract"):
        FTRLProximal(n_features=16).partial_fit_codes(np.array([[code]], dtype=np.int32), [1])


@pytest.mark.parametrize(
    ("y", "weights", "message"),
    [
        ([2], None, "only 0 and 1"),
        ([0, 1], None, "one label per row"),
        ([1], [-1.0], "0 or above"),
        ([1], [1, 1], "one weight"),
    ],
)
def test_bad_labels_and_weights_are_refused(y, weights, message):
    """The message says which argument is wrong."""
    with pytest.raises(ValueError, match=message):
        FTRLProximal(n_features=4).partial_fit_codes(
            np.array([[0]], dtype=np.int32), y, sample_weight=weights
        )


@pytest.mark.parametrize(
    "params",
    [{"alpha": 0}, {"alpha": float("nan")}, {"l1": -1}, {"beta": 0, "l2": 0}, {"n_epochs": 0}],
)
def test_parameters_out_of_range_are_named(params):
    """A knob that cannot work stops before the first row."""
    with pytest.raises(ConfigError, match=next(iter(params))):
        FTRLProximal(**params).check_params()
