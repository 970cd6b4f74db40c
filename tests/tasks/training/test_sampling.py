"""Down-sampled negatives: which rows stay, and probabilities that speak of all rows again."""

import numpy as np
import pytest

from tasks.errors import ConfigError, InputError
from tasks.models import KINDS, make_learner
from tasks.models.artifact import freeze
from tasks.models.predict import predict_stream
from tasks.training.fit import fit_stream
from tasks.training.sampling import checked_rate, keep_rows
from tests.tasks.models.rows import MemoryRows, fit_anew, learnable_rows, small_contract


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
    assert history.best_log_loss == pytest.approx(full.best_log_loss, rel=0.03)
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
