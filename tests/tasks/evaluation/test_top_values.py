"""The values with the largest weights: signs, ranks, and what is marked."""

import types

import numpy as np
import pandas as pd
import pytest

from tasks.evaluation.top_values import top_values


@pytest.fixture
def model():
    return types.SimpleNamespace(weights=np.array([0, 2, -1, 0.5, 0], dtype=np.float32))


@pytest.fixture
def values():
    rows = [
        ("site", "a", 1, 400, 200),
        ("site", "b", 2, 300, 30),
        ("app", "c", ~3, 29, 0),
        ("app", "d", 0, 20, 5),
        ("app", "e", ~1, 10, 1),
    ]
    return pd.DataFrame(rows, columns=["field", "value", "code", "n_rows", "n_clicks"])


def test_weights_are_signed_and_ranked(model, values):
    """A negative code subtracts its weight; what has none is left out."""
    table = top_values(model, values)
    assert table["value"].tolist() == ["a", "c", "b"]
    assert table["weight"].tolist() == [2.0, -0.5, -1.0]
    np.testing.assert_allclose(table["odds"], np.exp([2.0, -0.5, -1.0]))
    assert table["click_rate"].tolist() == [0.5, 0.0, 0.1]


def test_a_shared_bucket_is_that_of_its_most_frequent_value(model, values):
    """The others are counted; rare values are marked."""
    notes = top_values(model, values).set_index("value")["note"]
    assert notes.to_dict() == {"a": "bucket shared with 1", "c": "rare", "b": ""}


def test_each_side_has_its_own_limit(model, values):
    """The largest and the smallest weight."""
    assert top_values(model, values, n_values=1)["value"].tolist() == ["a", "b"]


def test_no_values_are_an_empty_table(model, values):
    """Nothing to rank."""
    assert top_values(model, values.head(0)).empty
