"""The small neural network: the checks of every learner, its gradients by differences, what no linear model learns."""

import numpy as np
import pytest

from tasks.models.neural_net import NeuralNet, _step_met
from tests.tasks.models.checks import check_learner
from tests.tasks.models.rows import random_codes


def test_it_is_a_learner_of_the_pipeline():
    """All that training and serving need."""
    check_learner("tasks.models.neural_net:NeuralNet", rate=0.05, batch_rows=32, n_rows=64)


@pytest.fixture
def network():
    """A network in float64 with every parameter away from 0, and rows for it."""
    draw = np.random.default_rng(4)
    learner = NeuralNet(n_features=32, n_rows=5, width=3, hidden=6)
    codes = random_codes(draw, n_rows=12, n_tokens=4, n_features=32)
    learner._start(4)
    for name, array in learner.arrays().items():
        setattr(learner, f"{name}_", draw.normal(0, 0.7, array.shape))
    return learner, codes, draw.integers(0, 2, 12).astype(float)


def loss_at(learner, codes, y):
    logit = learner.logits(codes, **learner.arrays())
    return np.logaddexp(0, np.where(y == 1, -logit, logit)).sum()


def dense_slopes(learner, codes, slopes):
    """Return the derivatives by whole tables: those of the tokens met, added up where they lie."""
    index = codes ^ (codes >> 31)
    weights, vectors = np.zeros(32), np.zeros(learner.vectors_.shape)
    np.add.at(weights, index, slopes["weights"])
    np.add.at(vectors, (np.arange(4), index % learner.n_rows), slopes["vectors"])
    return {**slopes, "weights": weights, "vectors": vectors}


@pytest.mark.parametrize("name", ["weights", "vectors", "into", "out"])
def test_gradients_are_finite_differences(network, name):
    """By the central difference of the loss, for every number of every array."""
    learner, codes, y = network
    loss, slopes = learner.gradients(codes, y)
    assert loss == pytest.approx(loss_at(learner, codes, y), rel=1e-6)
    found = dense_slopes(learner, codes, slopes)[name]
    array, step = getattr(learner, f"{name}_"), 1e-6
    for place in np.ndindex(array.shape):
        kept = array[place]
        array[place] = kept + step
        above = loss_at(learner, codes, y)
        array[place] = kept - step
        below = loss_at(learner, codes, y)
        array[place] = kept
        assert found[place] == pytest.approx((above - below) / (2 * step), rel=1e-4, abs=1e-6)


def test_a_row_of_a_table_that_is_met_twice_moves_once_by_the_sum():
    """AdaGrad by hand: slopes 1 and 2 are one of 3; the row that is not met stays."""
    table, squares = np.array([[1.0], [5.0]]), np.array([[7.0], [9.0]])
    _step_met(table, squares, np.array([0, 0]), np.array([[1.0], [2.0]]), 0.5, 1.0)
    assert squares.tolist() == [[7.0 + 4.0**2], [9.0]]
    assert table[0, 0] == pytest.approx(1 - 0.5 * 4 / np.sqrt(23))
    assert table[1, 0] == 5


def test_it_learns_what_two_values_mean_together():
    """Clicks where two tokens agree; the linear weights alone cannot tell."""
    codes = np.array([[0, 2], [0, 3], [1, 2], [1, 3]], dtype=np.int32)
    learner = NeuralNet(n_features=4, n_rows=4, rate=0.2, l2=0.0)
    for _ in range(200):
        learner.partial_fit_codes(codes, [1, 0, 0, 1])
    assert learner.predict_codes(codes).round().tolist() == [1, 0, 0, 1]


def test_a_batch_is_predicted_before_it_is_learned():
    """The first loss is that of the network as it is drawn, near one half each."""
    codes = random_codes(np.random.default_rng(2), n_rows=40, n_tokens=3, n_features=16)
    learner = NeuralNet(n_features=16, batch_rows=64).partial_fit_codes(codes, np.arange(40) % 2)
    assert learner.loss_ == pytest.approx(np.log(2), abs=0.01)
    assert learner.partial_fit_codes(codes, np.arange(40) % 2).loss_ < np.log(2)


def test_a_weight_is_a_repetition_within_a_batch():
    """One step from rows of weight 1 to 3 is that from the rows repeated, to what float32 keeps."""
    draw = np.random.default_rng(8)
    codes = random_codes(draw, n_rows=40, n_tokens=3, n_features=64)
    y, weight = draw.integers(0, 2, 40), draw.integers(1, 4, 40)
    one, other = (NeuralNet(n_features=64, n_rows=16, batch_rows=500) for _ in range(2))
    one.partial_fit_codes(codes, y, weight)
    copies = np.repeat(np.arange(40), weight)
    other.partial_fit_codes(codes[copies], y[copies])
    assert one.loss_ == pytest.approx(other.loss_, rel=1e-6)
    for name, array in one.arrays().items():
        np.testing.assert_allclose(array, other.arrays()[name], atol=1e-5, err_msg=name)


def test_rows_of_weight_0_are_no_rows():
    """Not even for a penalty."""
    codes = np.array([[0, 1], [2, 3]], dtype=np.int32)
    learner = NeuralNet(n_features=8, n_rows=4).partial_fit_codes(codes, [1, 0])
    before = {name: array.copy() for name, array in learner.arrays().items()}
    learner.partial_fit_codes(codes, [0, 0], [0, 0])
    assert all((array == before[name]).all() for name, array in learner.arrays().items())
