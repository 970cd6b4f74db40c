"""Training: the best epoch is kept, divergence is named, importance finds what matters."""

from functools import partial

import numpy as np
import pytest

from tasks.errors import ConfigError, ContractError, DivergenceError, InputError
from tasks.evaluation.metrics import log_loss
from tasks.models import KINDS, make_learner
from tasks.models.artifact import freeze
from tasks.models.ftrl import FTRLProximal
from tasks.models.predict import predict_stream
from tasks.training.fit import fit_stream, validate
from tests.tasks.models.rows import MemoryRows, fit_anew, learnable_rows, small_contract


@pytest.fixture
def parts():
    rng = np.random.default_rng(4)
    return [learnable_rows(rng, n_rows=n, contract=small_contract()) for n in (3000, 1000)]


class Scripted:
    """A learner with a given validation logit for each epoch; its rows are all clicks."""

    def __init__(self, logits, losses=()):
        self.logits, self.losses, self.epoch, self.loss_, self.restored = (
            logits,
            dict(losses),
            0,
            0.5,
            None,
        )

    def meet(self, contract):
        pass

    def partial_fit_codes(self, codes, y):
        self.epoch += 1
        self.loss_ = self.losses.get(self.epoch, 0.5)

    def decision_codes(self, codes):
        return np.full(len(codes), self.logits[self.epoch - 1])

    def snapshot(self):
        return self.epoch

    def restore(self, state):
        self.restored = state


@pytest.fixture
def clicks():
    return MemoryRows(np.zeros((4, 3), np.int32), np.ones(4, np.uint8), small_contract())


@pytest.mark.parametrize(
    ("logits", "patience", "n_epochs", "best", "restored"),
    [
        ([1, 2, 3, 4, 5], 1, 5, 5, None),  # better to the end: nothing to bring back
        ([1, 3, 2, 9, 9], 1, 3, 2, 2),  # worse once: stop, back to the second
        ([1, 3, 2, 4, 4], 2, 5, 4, 4),  # patience sees past the bad epoch
        ([3, 2, 1, 1, 1], 2, 3, 1, 1),
    ],
)
def test_the_best_epoch_is_kept(clicks, logits, patience, n_epochs, best, restored):
    """By validation log loss, lower is better."""
    learner = Scripted(logits)
    history = fit_stream(learner, clicks, clicks, max_epochs=5, patience=patience)
    assert (len(history.epochs), history.best_epoch, learner.restored) == (n_epochs, best, restored)
    assert history.best_log_loss == pytest.approx(np.log1p(np.exp(-logits[best - 1])))


@pytest.mark.parametrize("kind", KINDS)
def test_the_learner_is_left_at_its_best_epoch(parts, kind):
    """What it predicts afterwards has the loss that the history promises."""
    learner = make_learner(kind, 256, random_state=0)
    history = fit_stream(learner, *parts, max_epochs=6)
    assert log_loss(*predict_stream(learner, parts[1])) == pytest.approx(
        history.best_log_loss, abs=1e-12
    )
    assert history.best_log_loss < 0.9 * log_loss(
        parts[1].label, np.full(1000, parts[1].label.mean())
    )


@pytest.mark.parametrize("kind", KINDS)
def test_training_repeats_itself(parts, kind):
    """The same seed and rows give the same history."""
    one, again = (
        fit_stream(make_learner(kind, 256, random_state=0), *parts, max_epochs=2).epochs
        for _ in range(2)
    )
    assert [epoch.valid_log_loss for epoch in one] == [epoch.valid_log_loss for epoch in again]


def test_the_history_is_a_table(parts):
    """One row per epoch, counted from 1."""
    history = fit_stream(make_learner("ftrl", 256), *parts, max_epochs=2)
    frame = history.to_frame()
    assert list(frame.columns) == [
        "epoch",
        "train_log_loss",
        "valid_log_loss",
        "valid_roc_auc",
        "seconds",
    ]
    assert frame["epoch"].tolist() == [1, 2]


def test_progress_counts_every_row(parts):
    """Once a batch, up to the last row."""
    seen = []
    fit_stream(
        make_learner("ftrl", 256), *parts, max_epochs=1, progress=lambda *args: seen.append(args)
    )
    assert len(seen) == 12
    assert seen[-1] == (1, 3000, 3000)


def test_divergence_names_epoch_and_batch(clicks):
    """A loss that is not finite stops the training where it happened."""
    with pytest.raises(DivergenceError, match=r"epoch 2, batch 1"):
        fit_stream(Scripted([1, 2, 3], {2: float("nan")}), clicks, clicks, max_epochs=3)


def test_divergence_on_the_validation_rows_is_named(clicks):
    """Weights that only new rows meet can be broken too."""
    with pytest.raises(DivergenceError, match="validation after epoch 1"):
        fit_stream(Scripted([-np.inf]), clicks, clicks, max_epochs=1)


def test_scikit_learns_overflow_is_divergence(parts):
    """A learning rate of 1.7e308 is a knob to turn, not a traceback to read."""
    learner = make_learner("sgd", 256, random_state=0, eta0=1.7e308, learning_rate="constant")
    with pytest.raises(DivergenceError, match=r"epoch 1, batch \d+"):
        fit_stream(learner, *parts, max_epochs=1)


WILD = [
    ("sgd", {"eta0": 1e308, "average": False}),
    ("ftrl", {"alpha": 1e308}),
    ("ftrl", {"alpha": 1e308, "l1": 0.0, "l2": 0.0}),
    ("fm", {"alpha": 1e308, "l1": 0.0, "l2": 0.0}),
    ("fm", {"factor_alpha": 1e308, "min_evidence": 0}),
]


@pytest.mark.parametrize(("kind", "params"), WILD)
def test_every_learner_stops_where_it_diverges(parts, kind, params):
    """The batch is named; the first, or the first that meets a broken weight again."""
    learner = make_learner(kind, 256, random_state=0, **params)
    with pytest.raises(DivergenceError, match=r"epoch 1, batch [1-4]\)"):
        fit_stream(learner, *parts, max_epochs=2)


@pytest.mark.parametrize("params", [{"factor_alpha": 1e30}, {"factor_l2": 1e308}])
def test_a_broken_weight_that_no_loss_shows_stops_the_training(parts, params):
    """Sums of squares that overflowed end the learning of a vector without a sign of it."""
    learner = make_learner("fm", 256, random_state=0, min_evidence=0, **params)
    with pytest.raises(DivergenceError, match=r"epoch 1, by batch 12\): a loss or weight is not"):
        fit_stream(learner, *parts, max_epochs=2)


def test_empty_parts_are_refused(parts):
    """Nothing to learn from, nothing to judge by."""
    empty = MemoryRows(parts[0].codes[:0], parts[0].label[:0], small_contract())
    with pytest.raises(InputError, match="train part has no rows"):
        fit_stream(make_learner("ftrl", 256), empty, parts[1])
    with pytest.raises(InputError, match="valid part has no rows"):
        fit_stream(make_learner("ftrl", 256), parts[0], empty)


@pytest.mark.parametrize("knobs", [{"max_epochs": 0}, {"patience": 0}, {"max_epochs": 1.5}])
def test_knobs_out_of_range_are_named(parts, knobs):
    """Before anything is read."""
    with pytest.raises(ConfigError, match=next(iter(knobs))):
        fit_stream(make_learner("ftrl", 256), *parts, **knobs)


def test_rows_of_another_contract_are_not_predicted(parts):
    """Their codes would meet the wrong weights without a sign of it."""
    learner = make_learner("ftrl", 256).partial_fit_codes(parts[0].codes, parts[0].label)
    model = freeze(learner, small_contract(), name="m")
    other = MemoryRows(parts[1].codes, parts[1].label, small_contract(bits=9))
    with pytest.raises(ContractError, match="bits"):
        predict_stream(model, other)


@pytest.fixture
def model(parts):
    learner = make_learner("ftrl", 256)
    fit_stream(learner, *parts)
    return freeze(learner, small_contract(), name="m")


@pytest.mark.parametrize("kind", KINDS)
def test_training_anew_is_the_best_number_of_passes_over_both_parts(parts, kind):
    """From scratch: the learner as it was given, each pass over the older rows and then the newer ones."""
    made = partial(make_learner, kind, 256, random_state=5)
    history, found = fit_anew(made(), *parts, max_epochs=4)
    own = made()
    for _ in range(history.best_epoch):
        for part in parts:
            for batch in part.batches():
                own.partial_fit_codes(batch.codes, batch.label)
    np.testing.assert_array_equal(
        found.predict_codes(parts[1].codes), own.predict_codes(parts[1].codes)
    )


def test_training_anew_leaves_the_judged_learner_alone(parts):
    """Its weights are those of the best epoch on the validation rows, whatever follows."""
    judged, alone = make_learner("ftrl", 256), make_learner("ftrl", 256)
    _, found = fit_anew(judged, *parts, max_epochs=3)
    fit_stream(alone, *parts, max_epochs=3)
    np.testing.assert_array_equal(judged.state_, alone.state_)
    assert found is not judged


@pytest.mark.parametrize("n_tokens, alpha", [(24, 0.05), (240, 0.005), (5, 0.1), (12, 0.1)])
def test_the_default_rate_is_shared_among_the_tokens_of_a_row(n_tokens, alpha):
    """Ten times the tokens move the logit ten times as far; a rate that was chosen is kept."""
    for kind in ("ftrl", "fm"):
        assert make_learner(kind, 256, n_tokens=n_tokens).alpha == pytest.approx(alpha)
        assert make_learner(kind, 256, n_tokens=n_tokens, alpha=0.3).alpha == 0.3


def _arrays(rows):
    return rows.codes, rows.label


def test_losses_are_means_over_impressions():
    """Of validation and training: a row of weight 3 counts as three."""
    draw, contract = np.random.default_rng(2), small_contract(weight="n")
    rows = learnable_rows(draw, n_rows=900, contract=contract)
    rows.weight = draw.integers(1, 4, 900).astype(float)
    learner = make_learner("ftrl", 256)
    history = fit_stream(learner, rows, rows, max_epochs=1)
    copies = np.repeat(np.arange(900), rows.weight.astype(int))
    repeated = MemoryRows(rows.codes[copies], rows.label[copies], contract)
    assert validate(learner, rows) == pytest.approx(validate(learner, repeated), rel=1e-12)
    twin, total = make_learner("ftrl", 256), 0.0
    for batch in rows.batches():
        twin.partial_fit_codes(batch.codes, batch.label, batch.weight)
        total += twin.loss_ * batch.weight.sum()
    assert history.epochs[0].train_log_loss == pytest.approx(total / rows.weight.sum(), rel=1e-12)


def test_a_kind_without_weights_is_refused_before_it_learns():
    """In one line; a log that was only sampled needs none."""

    class Plain(FTRLProximal):
        def partial_fit_codes(self, codes, y):
            return super().partial_fit_codes(codes, y)

    rows = learnable_rows(np.random.default_rng(2), n_rows=300, contract=small_contract(weight="n"))
    rows.weight = np.ones(300)
    with pytest.raises(ConfigError, match="takes no weights of rows") as refused:
        fit_stream(Plain(n_features=256), rows, rows)
    assert "\n" not in str(refused.value)
    rows.contract = small_contract(label={"column": "click", "no_click_rate": 0.5})
    rows.weight = np.where(rows.label == 1, 1.0, 2.0)
    assert fit_stream(Plain(n_features=256), rows, rows, max_epochs=1).epochs
