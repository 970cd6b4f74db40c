"""The peers of the quality bench that are written or prepared here."""

import numpy as np
import pytest

from bench.quality.ffm import Machine
from bench.quality.logistic import one_hot
from bench.quality.trees import frequent, past_rates


def naive_logit(machine, row):
    """Return the logit of a row by the formula of a field-aware factorization machine."""
    places = [start + value for start, value in zip(machine._starts, row, strict=True)]
    found = machine.weights[-1, 0] + sum(machine.weights[place, 0] for place in places)
    n_fields = len(places)
    for i in range(n_fields):
        for j in range(i + 1, n_fields):
            pair = machine.vectors[places[i], j] @ machine.vectors[places[j], i]
            found += float(pair) / n_fields
    return found


def test_a_field_aware_machine_predicts_by_its_formula():
    """After some learning, on rows of three fields."""
    rng = np.random.default_rng(7)
    rows, label = rng.integers(0, 4, (200, 3)), rng.integers(0, 2, 200)
    machine = Machine([4, 4, 4], eta=0.1, lam=1e-4)
    machine.learn(rows, label)
    logits = np.array([naive_logit(machine, row) for row in rows[:20]])
    assert machine.predict(rows[:20]) == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-5)


def test_its_first_step_is_the_gradient_of_the_loss():
    """By finite differences of the log loss in one factor; AdaGrad's sums begin at 1."""
    rows, label, eta = np.array([[1, 0, 2]]), np.array([1]), 1e-3
    before, after = (Machine([3, 3, 3], eta=eta, lam=0.0) for _ in range(2))
    after.learn(rows, label)
    moved = after.vectors - before.vectors
    place, other, step = 1, 2, 1e-2  # the vector of field 0's value for field 2

    def loss(shift):
        before.vectors[place, other, 0] += shift
        found = -np.log(before.predict(rows)[0])
        before.vectors[place, other, 0] -= shift
        return found

    gradient = (loss(step) - loss(-step)) / (2 * step)
    wanted = -eta * gradient / np.sqrt(1 + gradient**2)
    assert moved[place, other, 0] == pytest.approx(wanted, rel=1e-2)


def test_a_field_aware_machine_learns_a_pair():
    """Clicks where two values agree, which no linear model can learn."""
    rows = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 50)
    label = (rows[:, 0] == rows[:, 1]).astype(int)
    machine = Machine([2, 2], eta=0.2, lam=0.0)
    for _ in range(60):
        machine.learn(rows, label)
    assert machine.predict(rows[:4]).round().tolist() == [1, 0, 0, 1]


def test_past_rates_see_earlier_rows_only():
    """A naive loop; a row's own click, and those after it, change nothing in it. Later rows see all."""
    rng = np.random.default_rng(7)
    columns, label = rng.integers(0, 5, (60, 2)), rng.integers(0, 2, 60)
    found = past_rates(columns, label)
    mean = label.mean()
    for row in range(60):
        earlier = columns[:row, 1] == columns[row, 1]
        seen, clicks = earlier.sum(), label[:row][earlier].sum()
        assert found[row, 2] == pytest.approx((clicks + 20 * mean) / (seen + 20), abs=1e-6)
        assert found[row, 3] == pytest.approx(np.log1p(seen), abs=1e-6)
    later = past_rates(columns, label, np.array([[3, 9]]))
    mine = columns[:, 0] == 3
    rate = (label[mine].sum() + 20 * mean) / (mine.sum() + 20)
    assert later[0].tolist() == pytest.approx([rate, np.log1p(mine.sum()), mean, 0.0], abs=1e-6)


def test_frequent_values_are_categories_and_the_others_one(monkeypatch):
    """Two are kept here, by how often they occur before; a value first seen later is among the others."""
    monkeypatch.setattr("bench.quality.trees.MAX_CATEGORIES", 2)
    before = np.array([[7], [7], [7], [4], [4], [1]])
    assert frequent(before, np.array([[7], [4], [1], [9]]))[:, 0].tolist() == [0, 1, 2, 2]


def test_one_hot_rows_have_one_value_per_column():
    """Against a dense matrix by hand."""
    found = one_hot(np.array([[2, 0], [0, 1]]), np.array([3, 2])).toarray()
    assert found.tolist() == [[0, 0, 1, 1, 0], [1, 0, 0, 0, 1]]
