"""What a field is worth to a model."""

import numpy as np
import pytest

from tasks.errors import InputError
from tasks.evaluation.importance import field_importance
from tasks.evaluation.metrics import log_loss
from tasks.models import make_learner
from tasks.models.artifact import freeze
from tests.tasks.models.rows import MemoryRows, learnable_rows, small_contract


@pytest.fixture(scope="module")
def parts():
    """Rows to train on and later ones."""
    rng = np.random.default_rng(4)
    return [learnable_rows(rng, n_rows=n, contract=small_contract()) for n in (3000, 1000)]


@pytest.fixture(scope="module")
def model(parts):
    """A model that has seen the training rows twice."""
    learner = make_learner("ftrl", 256)
    for _ in range(2):
        learner.partial_fit_codes(parts[0].codes, parts[0].label)
    return freeze(learner, small_contract(), name="m")


def test_importance_ranks_what_the_click_depends_on(model, parts):
    """The site strongly, the size weakly, the noise not at all."""
    table = field_importance(model, parts[1])
    assert table["field"].tolist()[:2] == ["site", "size"]
    assert table["importance"][0] > 0.02 > table["importance"][1]
    assert table["importance"][2] < 0.005


def test_importance_by_hand(model, parts):
    """A field's part of the logit, replaced by its mean."""
    valid = parts[1]
    site = model.contributions_codes(valid.codes)[:, 0]
    logit = model.logits(valid.codes)
    without = 1 / (1 + np.exp(-(logit - site + site.mean())))
    expected = log_loss(valid.label, without) - log_loss(
        valid.label, model.predict_codes(valid.codes)
    )
    table = field_importance(model, valid).set_index("field")["importance"]
    assert table["site"] == pytest.approx(expected, rel=1e-9)


def test_importance_takes_rows_from_the_whole_set(model, parts):
    """Every k-th row, wherever batches are cut, not just the first ones."""
    valid = parts[1]
    sampled = field_importance(model, valid, max_rows=100)
    every_tenth = MemoryRows(valid.codes[::10], valid.label[::10], valid.contract)
    np.testing.assert_allclose(
        sampled["importance"], field_importance(model, every_tenth)["importance"], rtol=1e-9
    )


def test_a_field_without_weight_is_worth_nothing(parts):
    """An untrained model predicts as well without any field; ties keep the order of the fields."""
    learner = make_learner("ftrl", 256, l1=1e6).partial_fit_codes(parts[0].codes, parts[0].label)
    table = field_importance(freeze(learner, small_contract(), name="m"), parts[1])
    assert table["field"].tolist() == ["site", "size", "noise"]
    assert table["importance"].tolist() == [0, 0, 0]


def test_no_rows_have_no_importance(model):
    """A mean over nothing would be NaN for every field."""
    nothing = MemoryRows(np.zeros((0, 3), np.int32), np.zeros(0, np.uint8), small_contract())
    with pytest.raises(InputError, match="there are no rows"):
        field_importance(model, nothing)


def test_importance_counts_impressions(model, parts):
    """A row of weight 3 is three rows."""
    valid, weight = parts[1], np.random.default_rng(1).integers(1, 4, 1000)
    copies = np.repeat(np.arange(1000), weight)
    contract = small_contract()
    weighted = MemoryRows(valid.codes, valid.label, contract, weight=weight.astype(float))
    repeated = MemoryRows(valid.codes[copies], valid.label[copies], contract)
    found, expected = (field_importance(model, rows) for rows in (weighted, repeated))
    assert found["field"].tolist() == expected["field"].tolist()
    np.testing.assert_allclose(found["importance"], expected["importance"], rtol=1e-9)
