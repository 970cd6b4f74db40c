"""What every kind of model must do; its test file calls :func:`check_learner` or :func:`check_estimator` once."""

import copy
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tasks.errors import ConfigError, DivergenceError, InputError
from tasks.evaluation.metrics import log_loss, roc_auc
from tasks.knobs.model_tasks import model_problems
from tasks.models import make_learner
from tasks.models.artifact import freeze, load_model, save_model
from tasks.models.golden import MODEL, is_model_file
from tasks.serving.live import LiveScorer
from tasks.training.checkpoint import Checkpoint, learned_state, state_digest
from tasks.training.divergence import require_finite
from tests.tasks.models.rows import learnable_rows, random_codes, small_contract

N_FEATURES = 256


def check_learner(kind, **params):
    """Assert that a kind, by its import path or short name, is a learner that the pipeline can train and serve.

    Parameters
    ----------
    kind
        As in ``env.yaml``, or the class.
    **params
        Parameters with which 2,000 rows and 30 passes are enough to learn.
    """
    if isinstance(kind, type):
        kind = f"{kind.__module__}:{kind.__qualname__}"
    for check in CHECKS:
        check(
            lambda **more: make_learner(kind, N_FEATURES, **{"random_state": 3, **params, **more})
        )


def check_estimator(kind, *, input, cardinality=64, **params):
    """Assert that an estimator, by its import path, is a model that the pipeline can train and serve.

    Parameters
    ----------
    kind
        As in ``env.yaml``, or the class.
    input, cardinality
        How it gets its rows, as in ``env.yaml``.
    **params
        Parameters with which 2,000 rows are enough to learn.
    """
    if isinstance(kind, type):
        kind = f"{kind.__module__}:{kind.__qualname__}"
    block = {"kind": kind, "input": input, "cardinality": cardinality}
    knobs = {**block, "params": params, "search": {"method": "fixed"}}
    assert list(model_problems({"m": knobs})) == []
    wrong = {**knobs, "params": {**params, "no_such_parameter": 1}}
    assert "no_such_parameter" in next(model_problems({"m": wrong}))[1]
    for check in ESTIMATOR_CHECKS:
        check(lambda **more: make_learner(block, N_FEATURES, random_state=3, **{**params, **more}))


def trained(make, *, n_passes=2, n_rows=600, seed=0, **params):
    rows = learnable_rows(np.random.default_rng(seed), n_rows=n_rows, contract=small_contract())
    learner = make(**params)
    for _ in range(1 if learner.learns_at_the_end else n_passes):
        for batch in rows.batches():
            learner.partial_fit_codes(batch.codes, batch.label)
        learner.end_pass()
    return learner, rows


def bad_parameters_are_refused(make):
    """A name that there is not, and a value that is no number where the default is one."""
    with pytest.raises(ConfigError, match="no_such_parameter"):
        make(no_such_parameter=1)
    for name, value in type(make())().get_params().items():
        if type(value) in (int, float) and name not in ("n_features", "random_state"):
            for wrong in (math.nan, "much"):
                with pytest.raises((ConfigError, ValueError, TypeError)):
                    make(**{name: wrong})


def it_learns_what_can_be_learned(make):
    """Better than the click rate on rows it has not seen, and the progressive loss says so."""
    learner, _ = trained(make, n_passes=30, n_rows=2000)
    unseen = learnable_rows(np.random.default_rng(9), n_rows=2000, contract=small_contract())
    p_click = learner.predict_codes(unseen.codes)
    rate = unseen.label.mean()
    alone = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    assert roc_auc(unseen.label, p_click) > 0.65
    assert log_loss(unseen.label, p_click) < alone - 0.01
    assert 0 < learner.loss_ < alone
    assert all(name in learner.get_params() for name in learner.search_space)


def rows_do_not_depend_on_their_batch(make):
    """One by one, in another order, or all together."""
    learner, rows = trained(make)
    model = freeze(learner, small_contract(), name="m")
    together = model.predict_codes(rows.codes)
    alone = [model.predict_codes(rows.codes[i : i + 1])[0] for i in range(50)]
    np.testing.assert_allclose(alone, together[:50], rtol=1e-9)
    np.testing.assert_allclose(model.predict_codes(rows.codes[::-1]), together[::-1], rtol=1e-9)
    assert len(learner.predict_codes(rows.codes[:0])) == 0


def what_is_saved_is_what_was_learned(make):
    """To what float32 keeps; equal bytes each time, no pickle, and the same numbers by every path."""
    learner, rows = trained(make)
    with tempfile.TemporaryDirectory() as place:
        one, two = (Path(place) / name for name in "ab")
        save_model(one, learner, small_contract(), name="m")
        save_model(two, copy.deepcopy(learner), small_contract(), name="m")
        for path in one.iterdir():  # model.json holds the time
            assert path.name == MODEL or path.read_bytes() == (two / path.name).read_bytes()
        assert all(is_model_file(path.name) for path in one.iterdir())
        model = load_model(one)
        assert (model.version, model.kind) == (load_model(two).version, learner.kind)
        expected = learner.predict_codes(rows.codes)
        np.testing.assert_allclose(model.predict_codes(rows.codes), expected, atol=1e-6)
        live, raw = LiveScorer(model), [{"site": "a"}, {"size": 3, "noise": "x"}, {}]
        np.testing.assert_allclose(
            [live.score(row) for row in raw], model.predict_rows(raw), rtol=1e-9
        )
        np.testing.assert_allclose(
            live.score_candidates({}, raw), model.predict_rows(raw), rtol=1e-9
        )


def training_resumes_with_the_same_bits(make):
    """From a checkpoint, and from a snapshot."""
    whole, rows = trained(make)
    half, _ = trained(make, n_passes=1)
    with tempfile.TemporaryDirectory() as place:
        Checkpoint(Path(place) / "c.npz", of={}).save(half, {})
        resumed = make()
        assert Checkpoint(Path(place) / "c.npz", of={}).load(resumed) == {}
    for batch in rows.batches():
        resumed.partial_fit_codes(batch.codes, batch.label)
    assert state_digest(resumed) == state_digest(whole)
    snapshot, before = whole.snapshot(), whole.predict_codes(rows.codes)
    whole.partial_fit_codes(rows.codes, 1 - rows.label)
    whole.restore(snapshot)
    np.testing.assert_array_equal(whole.predict_codes(rows.codes), before)


def training_again_gives_the_same_bits(make):
    """The same rows, order and seed."""
    one, two = trained(make)[0], trained(make)[0]
    assert state_digest(one) == state_digest(two)


def extremes_stay_finite(make):
    """The first and last weight with either sign, one token three times, one label only, a single row, no row."""
    last = N_FEATURES - 1
    codes = np.array([[0, ~0, last], [~last, last, ~last], [5, 5, 5]], dtype=np.int32)
    for label in (0, 1):
        learner = make()
        for _ in range(50):
            learner.partial_fit_codes(codes, [label] * 3)
        learner.partial_fit_codes(codes[:1], [1 - label]).partial_fit_codes(codes[:0], [])
        assert np.isfinite(learner.decision_codes(codes)).all()
    learner = make().partial_fit_codes(codes, [0, 1, 0])
    many = random_codes(np.random.default_rng(1), n_rows=300, n_tokens=3, n_features=N_FEATURES)
    assert ((learner.predict_codes(many) >= 0) & (learner.predict_codes(many) <= 1)).all()


def equal_trainings_give_one_version(make):
    """The same rows, order and seed; what is served does not depend on when it was trained."""
    one, two = (freeze(trained(make)[0], small_contract(), name="m") for _ in range(2))
    assert one.version == two.version


def answers_to_extremes_are_finite(make):
    """The first and last bucket with either sign, one token three times, codes that training has not seen."""
    learner, _ = trained(make)
    last = N_FEATURES - 1
    codes = np.array([[0, ~0, last], [~last, last, ~last], [5, 5, 5]], dtype=np.int32)
    many = random_codes(np.random.default_rng(1), n_rows=300, n_tokens=3, n_features=N_FEATURES)
    assert np.isfinite(learner.decision_codes(np.concatenate([codes, many]))).all()


def foreign_rows_are_refused(make):
    """Codes of another size, labels that are none."""
    learner = make()
    with pytest.raises(ValueError, match="codes name the weights"):
        learner.partial_fit_codes(np.array([[0, 1, N_FEATURES]], dtype=np.int32), [1])
    with pytest.raises(ValueError, match="0 and 1"):
        learner.partial_fit_codes(np.array([[0, 1, 2]], dtype=np.int32), [2])


def left_out_rows_are_corrected(make):
    """The logit offset reaches the learner's and the saved model's predictions."""
    learner, rows = trained(make)
    before = learner.decision_codes(rows.codes)
    learner.negative_rate_ = 0.25
    np.testing.assert_allclose(learner.decision_codes(rows.codes), before + np.log(0.25))
    saved = freeze(learner, small_contract(), name="m")
    np.testing.assert_allclose(
        saved.predict_codes(rows.codes), learner.predict_codes(rows.codes), atol=1e-6
    )


def a_weight_counts_as_so_many_equal_rows(make):
    """In expectation: an online learner takes one longer step for several. Weights of 1 are none."""
    rows = learnable_rows(np.random.default_rng(5), n_rows=1500, contract=small_contract())
    weighted = small_contract(weight="n")
    if not make().takes_weights:
        with pytest.raises(ConfigError, match="takes no weights of rows") as caught:
            make().meet(weighted)
        assert "\n" not in str(caught.value)
        return
    make().meet(weighted)
    weight = np.where(rows.label == 1, 4.0, 1.0)
    copies = np.random.default_rng(6).permutation(np.repeat(np.arange(1500), weight.astype(int)))
    found = [
        _taught(make, codes, label, *weights).predict_codes(rows.codes)
        for codes, label, *weights in (
            (rows.codes, rows.label, weight),
            (rows.codes[copies], rows.label[copies]),
            (rows.codes, rows.label),
            (rows.codes, rows.label, np.ones(1500)),
        )
    ]
    by_weight, by_copies, plain, by_ones = found
    assert abs(by_weight.mean() - by_copies.mean()) < 0.06 < by_weight.mean() - plain.mean() - 0.06
    assert np.corrcoef(by_weight, by_copies)[0, 1] > 0.9
    if make().learns_at_the_end:  # a forest draws its rows by weight, if it has some
        assert abs(by_ones.mean() - plain.mean()) < 0.03
    else:
        np.testing.assert_array_equal(by_ones, plain)


def _taught(make, codes, label, *weights):
    learner = make()
    for _ in range(1 if learner.learns_at_the_end else 6):
        for begin in range(0, len(label), 250):
            part = slice(begin, begin + 250)
            learner.partial_fit_codes(*(one[part] for one in (codes, label, *weights)))
        learner.end_pass()
    return learner


def a_diverged_learner_is_refused(make):
    """By training and by saving, which leaves no file; the message names what to lower."""
    learner, _ = trained(make)
    spoil(learned_state(learner))
    with pytest.raises(DivergenceError, match="learning rate"):
        require_finite(learner, "epoch 1")
    with tempfile.TemporaryDirectory() as place:
        with pytest.raises(InputError, match="not finite"):
            save_model(Path(place) / "m", learner, small_contract(), name="nan")
        assert not (Path(place) / "m").exists()


def spoil(tree):
    """Make every first number of the arrays of a tree NaN, in place."""
    for value in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            value.reshape(-1)[0] = math.nan
        elif isinstance(value, dict | list | tuple):
            spoil(value)


CHECKS = (
    bad_parameters_are_refused,
    it_learns_what_can_be_learned,
    rows_do_not_depend_on_their_batch,
    what_is_saved_is_what_was_learned,
    training_resumes_with_the_same_bits,
    training_again_gives_the_same_bits,
    extremes_stay_finite,
    foreign_rows_are_refused,
    left_out_rows_are_corrected,
    a_weight_counts_as_so_many_equal_rows,
    a_diverged_learner_is_refused,
)
ESTIMATOR_CHECKS = (
    it_learns_what_can_be_learned,
    rows_do_not_depend_on_their_batch,
    what_is_saved_is_what_was_learned,
    equal_trainings_give_one_version,
    answers_to_extremes_are_finite,
    foreign_rows_are_refused,
    left_out_rows_are_corrected,
    a_weight_counts_as_so_many_equal_rows,
)
