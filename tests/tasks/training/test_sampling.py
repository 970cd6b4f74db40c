"""Down-sampled negatives: which rows stay, and probabilities that speak of all rows again."""

import numpy as np
import pytest

from tasks.errors import ConfigError, InputError
from tasks.hashing.codes import NO_TOKEN
from tasks.models import KINDS, make_learner
from tasks.models.artifact import freeze
from tasks.models.predict import predict_stream
from tasks.training.fit import fit_stream
from tasks.training.sampling import (
    LastRows,
    checked_rate,
    keep_rows,
    sample_batch,
    tokens_per_row,
    weight_of,
)
from tests.tasks.models.rows import Batch, MemoryRows, fit_anew, learnable_rows, small_contract


@pytest.fixture
def rng():
    return np.random.default_rng(6)


def test_clicks_stay_and_the_share_of_the_others_is_the_rate(rng):
    """Within four standard errors of a binomial share."""
    label = (rng.random(50_000) < 0.2).astype(np.uint8)
    kept = keep_rows(label, first_row=0, negative_rate=0.3, seed=1)
    assert kept[label == 1].all()
    n_others = (label == 0).sum()
    assert kept[label == 0].mean() == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / n_others) ** 0.5)


def test_a_rows_fate_depends_on_its_number_and_the_seed_alone(rng):
    """Not on how the rows are cut into batches; another seed keeps others."""
    label = np.zeros(1000, dtype=np.uint8)
    whole = keep_rows(label, first_row=0, negative_rate=0.5, seed=3)
    pieces = [
        keep_rows(label[begin : begin + 7], first_row=begin, negative_rate=0.5, seed=3)
        for begin in range(0, 1000, 7)
    ]
    np.testing.assert_array_equal(whole, np.concatenate(pieces))
    other = keep_rows(label, first_row=0, negative_rate=0.5, seed=4)
    assert 0.3 < (whole != other).mean() < 0.7


@pytest.mark.parametrize("rate", [0, -0.1, 1.5, float("nan"), True, "half", None])
def test_a_rate_out_of_range_is_named(rate):
    """Before anything is read."""
    with pytest.raises(ConfigError, match="negative_rate must be above 0 and at most 1"):
        checked_rate(rate)


@pytest.fixture
def parts(rng):
    return [learnable_rows(rng, n_rows=n, contract=small_contract()) for n in (12_000, 4000)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_correction_restores_calibration(parts, kind):
    """Mean prediction and click rate agree, in learner and saved model, also once it is trained anew."""
    train, valid = parts
    learner = make_learner(kind, 256, random_state=0)
    history, learner = fit_anew(learner, train, valid, max_epochs=3, negative_rate=0.25, seed=2)
    full = fit_stream(make_learner(kind, 256, random_state=0), train, valid, max_epochs=3)
    assert history.best_log_loss == pytest.approx(full.best_log_loss, rel=0.05)
    y_true, p_click = predict_stream(learner, valid)
    assert p_click.mean() / y_true.mean() == pytest.approx(1, abs=0.06)
    model = freeze(learner, small_contract(), name="m")
    np.testing.assert_allclose(model.predict_codes(valid.codes), p_click, atol=1e-6)
    assert model.intercept == pytest.approx(float(learner.intercept_[0]) + np.log(0.25))


def test_the_known_probability_is_found(rng):
    """One token whose click probability is 0.02, learned from a tenth of its rows without a click."""
    label = (rng.random(60_000) < 0.02).astype(np.uint8)
    rows = MemoryRows(np.zeros((60_000, 1), np.int32), label, small_contract())
    learner = make_learner("ftrl", 256)
    fit_stream(learner, rows, rows, max_epochs=1, negative_rate=0.1)
    p_click = learner.predict_codes(rows.codes[:1])[0]
    assert p_click == pytest.approx(label.mean(), rel=0.1)
    # He et al. (2014): q = p / (p + (1 - p) / w), p the probability among the rows that were shown
    odds = p_click / (1 - p_click) / 0.1
    p_shown = odds / (1 + odds)
    assert p_shown / (p_shown + (1 - p_shown) / 0.1) == pytest.approx(p_click)


def test_matrices_and_codes_are_corrected_alike(parts):
    """The two faces of a learner agree."""
    from tasks.models.sgd import to_csr

    for kind in KINDS:
        learner = make_learner(kind, 256, random_state=0)
        fit_stream(learner, *parts, max_epochs=1, negative_rate=0.5)
        codes = parts[1].codes[:50]
        matrix = to_csr(codes, 256)
        learner.n_features_in_ = 256
        np.testing.assert_allclose(
            learner.predict_proba(matrix)[:, 1], learner.predict_codes(codes), rtol=1e-9
        )


def test_a_rate_of_one_changes_nothing(parts):
    """The same bits as without the knob."""
    one, other = (make_learner("ftrl", 256) for _ in range(2))
    fit_stream(one, *parts, max_epochs=2, negative_rate=1.0, seed=5)
    fit_stream(other, *parts, max_epochs=2)
    np.testing.assert_array_equal(one.state_, other.state_)


def test_a_rate_that_leaves_nothing_is_an_input_error():
    """No click, and no other row by chance."""
    rows = MemoryRows(np.zeros((3, 3), np.int32), np.zeros(3, np.uint8), small_contract())
    with pytest.raises(InputError, match="left none of 3 rows"):
        fit_stream(make_learner("ftrl", 256), rows, rows, negative_rate=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_fit_forgets_the_rate(parts, kind):
    """A matrix after a down-sampled stream: every learner starts anew."""
    from tasks.models.sgd import to_csr

    learner = make_learner(kind, 256, random_state=0)
    fit_stream(learner, *parts, max_epochs=1, negative_rate=0.3)
    learner.fit(to_csr(parts[0].codes, 256), parts[0].label)
    assert learner.logit_offset_ == 0


def weighted_batch(*weights):
    label = np.array([1, 0, 0, 1], dtype=np.uint8)
    return Batch(np.arange(4, dtype=np.int32)[:, None], label, np.array(weights))


def test_learners_get_weights_only_where_rows_differ():
    """None, all ones, and what a sampling at a known rate alone explains: codes and labels."""
    none = Batch(*weighted_batch(1.0)[:2])
    assert len(sample_batch(none, 0, negative_rate=1, seed=0)) == 2
    assert len(sample_batch(weighted_batch(1.0, 1, 1, 1), 0, negative_rate=1, seed=0)) == 2
    rate = 1 / 49  # whose inverse times itself is not 1
    batch = weighted_batch(1.0, 1 / rate, 1 / rate, 1.0)
    rows = sample_batch(batch, 0, negative_rate=1, seed=0, no_click_rate=rate)
    assert (len(rows), weight_of(rows)) == (2, 4)


def test_a_sampled_row_counts_in_training_as_it_is():
    """The logit offset says that there were more of them; counts of impressions stay."""
    batch = weighted_batch(3.0, 50.0, 20.0, 1.0)
    rows = sample_batch(batch, 0, negative_rate=1, seed=0, no_click_rate=0.1)
    np.testing.assert_allclose(rows[2], [3, 5, 2, 1])
    assert weight_of(rows) == pytest.approx(11)


def test_weights_stay_with_their_rows():
    """When rows without a click are left out, and when the first rows are."""
    batch = weighted_batch(3.0, 50.0, 20.0, 1.0)
    codes, _, weight = sample_batch(batch, 0, negative_rate=0.01, seed=0)
    assert len(codes) == 2
    assert weight.tolist() == batch.weight[codes[:, 0]].tolist()
    rows = MemoryRows(*batch[:2], small_contract(), batch_rows=2, weight=batch.weight)
    last = list(LastRows(rows, 3).batches())
    assert [one.weight.tolist() for one in last] == [[50], [20, 1]]
    assert LastRows(rows, 3).contract == rows.contract


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_sampled_at_a_known_rate_gives_the_probability_among_all_rows(rng, kind):
    """Of the rows without a click the log holds one in five; learner and saved model speak of all."""
    contract = small_contract(label={"column": "click", "no_click_rate": 0.2})
    parts = []
    for n_rows in (30_000, 8000):
        rows = learnable_rows(rng, n_rows=n_rows, contract=contract)
        kept = (rows.label == 1) | (rng.random(n_rows) < 0.2)
        weight = np.where(rows.label == 1, 1.0, 5.0)[kept]
        parts.append(MemoryRows(rows.codes[kept], rows.label[kept], contract, weight=weight))
    learner = make_learner(kind, 256, random_state=0)
    history, learner = fit_anew(learner, *parts, max_epochs=3)
    whole = learnable_rows(rng, n_rows=20_000, contract=contract)
    p_click = learner.predict_codes(whole.codes)
    assert p_click.mean() == pytest.approx(whole.label.mean(), rel=0.05)
    saved = freeze(learner, contract, name="m")
    np.testing.assert_allclose(saved.predict_codes(whole.codes), p_click, atol=1e-6)
    losses = np.where(whole.label == 1, -np.log(p_click), -np.log1p(-p_click))
    assert history.best_log_loss == pytest.approx(losses.mean(), rel=0.05)


def test_tokens_of_a_row_are_counted_without_the_empty_places_of_lists():
    """The rate is shared among the tokens that are there."""
    codes = np.full((4, 10), NO_TOKEN, np.int32)
    codes[:, :2] = 5
    codes[0, 2] = -3
    rows = MemoryRows(codes, np.zeros(4, np.uint8), small_contract())
    assert tokens_per_row(rows) == 3
    assert tokens_per_row(MemoryRows(codes[1:], np.zeros(3, np.uint8), small_contract())) == 2
