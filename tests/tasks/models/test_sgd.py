"""SGD on codes: the same as scikit-learn's own on the matrix, chunk by chunk."""

import numpy as np
import pytest
from sklearn.feature_extraction import FeatureHasher
from sklearn.linear_model import SGDClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from tasks.errors import ConfigError
from tasks.hashing.row_encoder import RowEncoder
from tasks.models import sgd
from tasks.models.estimators.scoring import to_csr
from tasks.models.sgd import SGDLogistic
from tests.tasks.models.checks import check_learner
from tests.tasks.models.rows import random_codes, small_contract

EXPECTED = {
    f"check_sample_weight_equivalence_on_{kind}_data": "scikit-learn lists the same exception for its SGDClassifier"
    for kind in ("dense", "sparse")
}


def test_it_is_a_learner_of_the_pipeline():
    """All that training and serving need."""
    check_learner("sgd")


@parametrize_with_checks([SGDLogistic()], expected_failed_checks=lambda _: EXPECTED)
def test_scikit_learns_own_checks(estimator, check):
    """Everything that scikit-learn expects of a classifier."""
    check(estimator)


@pytest.fixture
def rows():
    rng = np.random.default_rng(3)
    return random_codes(rng, n_rows=90, n_tokens=4, n_features=32), rng.integers(0, 2, 90)


def test_codes_learn_what_the_matrix_learns(rows, monkeypatch):
    """Chunks of codes equal SGDClassifier.partial_fit on the same chunks of the matrix."""
    monkeypatch.setattr(sgd, "CHUNK_ROWS", 40)
    codes, y = rows
    knobs = {
        "alpha": 1e-4,
        "learning_rate": "invscaling",
        "eta0": 0.2,
        "power_t": 0.25,
        "average": True,
        "random_state": 1,
    }
    ours = SGDLogistic(n_features=32, **knobs).partial_fit_codes(codes, y)
    theirs = SGDClassifier(loss="log_loss", **knobs)
    for begin in (0, 40, 80):
        theirs.partial_fit(to_csr(codes[begin : begin + 40], 32), y[begin : begin + 40], [0, 1])
    np.testing.assert_array_equal(ours.coef_, theirs.coef_)
    np.testing.assert_allclose(
        ours.predict_codes(codes), theirs.predict_proba(to_csr(codes, 32))[:, 1], rtol=1e-12
    )


def test_the_matrix_is_feature_hashers():
    """Codes as a matrix are what scikit-learn hashes from the same tokens."""
    contract = small_contract(bits=10)
    row = {"site": "a", "size": "b", "noise": "c"}
    ours = to_csr(RowEncoder(contract).encode_row(row)[None, :], 1024).toarray()
    tokens = [[f"{name}={value}" for name, value in row.items()]]
    theirs = FeatureHasher(n_features=1024, input_type="string").transform(tokens).toarray()
    np.testing.assert_array_equal(ours, theirs)


def test_the_loss_is_progressive(rows):
    """The first rows are predicted by nothing: one half each."""
    codes, y = rows
    assert SGDLogistic(n_features=32).partial_fit_codes(codes, y).loss_ == pytest.approx(np.log(2))


def test_a_snapshot_brings_back_what_was_learnt(rows):
    """Training on after a snapshot does not reach it."""
    codes, y = rows
    learner = SGDLogistic(n_features=32, random_state=0).partial_fit_codes(codes, y)
    snapshot, expected = learner.snapshot(), learner.decision_codes(codes)
    learner.partial_fit_codes(codes, 1 - y).restore(snapshot)
    np.testing.assert_array_equal(learner.decision_codes(codes), expected)


def test_a_parameter_out_of_range_is_named():
    """scikit-learn's own words, as an error of ours."""
    with pytest.raises(ConfigError, match="alpha"):
        SGDLogistic(alpha=-1.0).check_params()


@pytest.mark.parametrize("average", [False, True, 30])
def test_learning_goes_on_from_a_snapshot_as_from_the_moment_it_was_taken(rows, average):
    """Averaged weights too: scikit-learn learns in other arrays than it predicts with."""
    codes, y = rows
    one, other = (
        SGDLogistic(
            n_features=32, random_state=0, average=average, learning_rate="constant"
        ).partial_fit_codes(codes, y)
        for _ in range(2)
    )
    snapshot = one.snapshot()
    one.partial_fit_codes(codes, 1 - y).restore(snapshot)
    one.t_ = other.t_  # the clock of the learning rate is not turned back
    for learner in (one, other):
        learner.partial_fit_codes(codes, y)
    np.testing.assert_array_equal(one.decision_codes(codes), other.decision_codes(codes))


def test_a_fresh_fit_forgets_the_rate_of_an_earlier_stream(rows):
    """All rows of a matrix are shown, so nothing is to be corrected."""
    codes, y = rows
    matrix = to_csr(codes, 32)
    learner = SGDLogistic(n_features=32, random_state=0)
    learner.negative_rate_ = 0.2
    plain = SGDLogistic(n_features=32, random_state=0).fit(matrix, y)
    learner.fit(matrix, y)
    np.testing.assert_array_equal(
        learner.decision_function(matrix), plain.decision_function(matrix)
    )


def test_a_heavy_row_is_learned_as_several(rows, monkeypatch):
    """Of equal weight and no more than there may be; the loss is that of all its impressions."""
    codes, y = rows
    seen = []

    def partial_fit(self, X, y, classes, weight):
        seen.append((X.shape[0], weight))

    monkeypatch.setattr(SGDLogistic, "partial_fit", partial_fit)
    weight = np.ones(len(codes))
    weight[:3] = 20, 8, 1e6
    learner = SGDLogistic(n_features=2**12).partial_fit_codes(codes, y, weight)
    ((n_rows, given),) = seen
    assert n_rows == len(given) == len(codes) - 3 + 3 + 1 + 64
    assert given[:5].tolist() == pytest.approx([20 / 3, 20 / 3, 20 / 3, 8, 1e6 / 64])
    assert given.sum() == pytest.approx(weight.sum())
    assert learner.loss_ == pytest.approx(np.log(2))
