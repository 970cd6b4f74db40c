"""What a field is worth to a model."""

import numpy as np
import pandas as pd
import pytest

from tasks.errors import InputError
from tasks.evaluation.importance import field_importance, harm_note, harmful
from tasks.evaluation.metrics import log_loss
from tasks.evaluation.rows import row_losses
from tasks.models import make_learner
from tasks.models.artifact import freeze
from tasks.models.scoring import sigmoid
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


def test_an_interval_holds_the_mean_and_is_the_textbooks(model, parts):
    """1.96 standard errors of the rises of single rows, of a hundred rows."""
    table = field_importance(model, parts[1]).set_index("field")
    assert (table["low"] < table["importance"]).all()
    assert (table["importance"] < table["high"]).all()
    codes, labels = parts[1].codes, parts[1].label
    site = model.contributions_codes(codes)[:, 0]
    logit = model.logits(codes)
    rise = row_losses(labels, sigmoid(logit - site + site.mean())) - row_losses(
        labels, sigmoid(logit)
    )
    half = 1.96 * rise.std() / np.sqrt(len(rise))
    assert table.loc["site", "high"] - table.loc["site", "low"] == pytest.approx(2 * half, rel=1e-4)


def test_a_field_that_only_remembers_harms_on_rows_it_has_not_learned(parts):
    """A value per row or so, learned hard: useful on the rows it comes from, harmful on others."""
    rng = np.random.default_rng(9)
    learned, later = (
        MemoryRows(np.column_stack([one.codes[:, :2], 30 + rng.integers(0, 220, len(one.label))])
                   .astype(np.int32), one.label, one.contract)
        for one in parts
    )  # fmt: skip
    learner = make_learner("ftrl", 256, alpha=0.1, beta=0.5, l1=0.0, l2=0.0)
    for _ in range(12):
        learner.partial_fit_codes(learned.codes, learned.label)
    model = freeze(learner, small_contract(), name="m")
    known, found = (field_importance(model, rows).set_index("field") for rows in (learned, later))
    assert known.loc["noise", "importance"] > 0 > found.loc["noise", "importance"]
    assert harmful(found.reset_index()) == ["noise"]
    assert harmful(known.reset_index()) == []


def test_weights_and_clusters_count(model, parts):
    """A weight is the row repeated; rows that hang together leave a wider interval."""
    codes, labels = parts[1].codes[:300], parts[1].label[:300]
    rows = MemoryRows(codes, labels, parts[1].contract)
    weight = np.random.default_rng(3).integers(1, 4, 300)
    twice = MemoryRows(*(np.repeat(one, weight, axis=0) for one in (codes, labels)), rows.contract)
    one, other = field_importance(model, rows, weight=weight), field_importance(model, twice)
    pd.testing.assert_frame_equal(one, other)
    wide = field_importance(model, rows, cluster=labels)
    narrow = field_importance(model, rows)
    assert (wide["high"] - wide["low"])[0] > 2 * (narrow["high"] - narrow["low"])[0]


def test_what_harms_is_said_with_its_remedy():
    """A cross is quoted, because YAML reads a star as a reference."""
    assert harm_note("fm", []) is None
    note = harm_note("fm", ["a*b", "ip"])
    assert note.startswith("without a*b, ip, fm would be better")
    assert note.endswith('to take them out, add to the schema: drop: ["a*b", ip]')


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
