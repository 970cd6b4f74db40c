"""The training loop written out: what the iterators add to it, and what they refuse."""

import numpy as np
import pytest

from tasks.errors import DivergenceError
from tasks.models import KINDS, make_learner
from tasks.training.epochs import Training
from tasks.training.fit import fit_stream, validate
from tests.tasks.models.rows import learnable_rows, small_contract


@pytest.fixture
def parts():
    rng = np.random.default_rng(4)
    return [learnable_rows(rng, n_rows=n, contract=small_contract()) for n in (3000, 1000)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_loop_is_plain_calls_in_time_order(parts, kind):
    """Two epochs by the iterators and two by hand give the same bits."""
    train, valid = parts
    learner, plain = (make_learner(kind, 256, random_state=0) for _ in range(2))
    with Training(learner, train, valid, max_epochs=2, patience=2) as run:
        for epoch in run.epochs():
            for codes, label in epoch.batches():
                run.learner.partial_fit_codes(codes, label)
            epoch.finish(*validate(run.learner, run.valid))
    losses = []
    for _ in range(run.history.best_epoch):
        for batch in train.batches():
            plain.partial_fit_codes(batch.codes, batch.label)
        losses.append(validate(plain, valid)[0])
    assert [e.valid_log_loss for e in run.history.epochs][: len(losses)] == losses
    assert (learner.decision_codes(valid.codes) == plain.decision_codes(valid.codes)).all()


def test_the_training_loss_is_the_mean_over_rows(parts):
    """Batches of different sizes weigh by their rows."""
    train, valid = parts
    learner, losses = make_learner("ftrl", 256), []
    with Training(learner, train, valid, max_epochs=1) as run:
        for epoch in run.epochs():
            for codes, label in epoch.batches():
                learner.partial_fit_codes(codes, label)
                losses.append((learner.loss_, len(label)))
            epoch.finish(*validate(learner, valid))
    expected = sum(loss * n for loss, n in losses) / 3000
    assert run.history.epochs[0].train_log_loss == pytest.approx(expected, rel=1e-12)


def test_leaving_the_loop_early_keeps_the_best_epoch(parts):
    """A person who has seen enough breaks; the weights are those of the best epoch so far."""
    train, valid = parts
    learner, best = make_learner("ftrl", 256), make_learner("ftrl", 256)
    fit_stream(best, train, valid, max_epochs=1)
    with Training(learner, train, valid, max_epochs=9, patience=9) as run:
        for epoch in run.epochs():
            for codes, label in epoch.batches():
                learner.partial_fit_codes(codes, label)
            epoch.finish(0.1 if epoch.number == 1 else 0.2, 0.5)
            if epoch.number == 3:
                break
    assert (run.history.best_epoch, len(run.history.epochs)) == (1, 3)
    assert (learner.coef_ == best.coef_).all()


def test_an_epoch_without_its_validation_is_a_defect(parts):
    """Without it there is no best epoch and no end."""
    learner = make_learner("ftrl", 256)
    with (
        pytest.raises(RuntimeError, match=r"must end with finish"),
        Training(learner, *parts) as run,
    ):
        for epoch in run.epochs():
            for codes, label in epoch.batches():
                learner.partial_fit_codes(codes, label)


def test_a_validation_loss_that_is_not_finite_is_divergence(parts):
    """It would never be the best, and never be noticed."""
    learner = make_learner("ftrl", 256)
    with (
        pytest.raises(DivergenceError, match="validation after epoch 1"),
        Training(learner, *parts) as run,
    ):
        for epoch in run.epochs():
            for codes, label in epoch.batches():
                learner.partial_fit_codes(codes, label)
            epoch.finish(float("nan"), 0.5)


@pytest.mark.parametrize("words", ["Floating-point under-/overflow occurred", "n_features differ"])
def test_only_an_overflow_becomes_divergence(parts, words):
    """Any other ValueError of the loop comes through as it is."""
    expected = DivergenceError if "overflow" in words else ValueError
    match = r"epoch 1, batch 1" if "overflow" in words else words
    with pytest.raises(expected, match=match), Training(make_learner("ftrl", 256), *parts) as run:
        for epoch in run.epochs():
            for _ in epoch.batches():
                raise ValueError(words)
