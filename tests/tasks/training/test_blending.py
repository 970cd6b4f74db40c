"""A blend's weights are the best ones on validation rows, and its parts are those that their trainings left."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from tasks.errors import ContractError, DegenerateError, InputError
from tasks.evaluation.metrics import log_loss
from tasks.models import make_learner
from tasks.models.artifact import save_model
from tasks.models.predict import predict_stream
from tasks.models.scoring import sigmoid
from tasks.training.blending import (
    VALID_LOGITS,
    blend_history,
    blend_weights,
    keep_valid_logits,
    read_parts,
)
from tests.tasks.models.rows import learnable_rows, small_contract


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def noisy_parts(rng, *noise, n_rows=4000):
    """Return logits of parts that know the truth up to noise of their own, and labels."""
    truth = rng.normal(-1.5, 1.0, n_rows)
    y_true = (rng.random(n_rows) < sigmoid(truth)).astype(float)
    return np.stack([truth + rng.normal(0, sd, n_rows) for sd in noise]), y_true


def test_two_parts_are_weighed_as_a_search_along_the_line_weighs_them(rng):
    """A second way to the same minimum; the better part counts more, and the mean beats both."""
    logits, y_true = noisy_parts(rng, 0.5, 0.8)
    weights = blend_weights(logits, y_true)
    line = minimize_scalar(
        lambda w: log_loss(y_true, sigmoid(w * logits[0] + (1 - w) * logits[1])),
        bounds=(0, 1), method="bounded", options={"xatol": 1e-9},
    )  # fmt: skip
    assert weights[0] == pytest.approx(line.x, abs=1e-4)
    assert weights[0] > 0.5
    alone = [log_loss(y_true, sigmoid(one)) for one in logits]
    assert log_loss(y_true, sigmoid(weights @ logits)) < min(alone)


def test_three_parts_are_weighed_as_a_grid_weighs_them(rng):
    """No point of a fine grid of weights has a lower loss."""
    logits, y_true = noisy_parts(rng, 0.4, 0.7, 1.5, n_rows=1500)
    weights = blend_weights(logits, y_true)
    least = log_loss(y_true, sigmoid(weights @ logits))
    grid = [(a / 20, b / 20, 1 - (a + b) / 20) for a in range(21) for b in range(21 - a)]
    assert least <= min(log_loss(y_true, sigmoid(np.array(w) @ logits)) for w in grid) + 1e-9


@pytest.mark.parametrize("n_parts", [2, 3, 6])
def test_weights_are_never_negative_and_add_up_to_one(rng, n_parts):
    """Also with a part that predicts the opposite, and with equal ones."""
    logits, y_true = noisy_parts(rng, *[0.5] * n_parts)
    for these in (logits, np.stack([*logits[:-1], -logits[0]]), np.stack([logits[0]] * n_parts)):
        weights = blend_weights(these, y_true)
        assert weights.min() >= 0
        assert weights.sum() == pytest.approx(1, abs=1e-12)


def test_the_order_of_parts_and_rows_does_not_matter(rng):
    """Weights follow their parts."""
    logits, y_true = noisy_parts(rng, 0.5, 0.8, 0.6)
    weights, rows = blend_weights(logits, y_true), rng.permutation(len(y_true))
    np.testing.assert_allclose(blend_weights(logits[::-1], y_true)[::-1], weights, atol=1e-4)
    np.testing.assert_allclose(blend_weights(logits[:, rows], y_true[rows]), weights, atol=1e-4)


def test_a_weight_of_a_row_is_the_row_repeated(rng):
    """As in training and metrics."""
    logits, y_true = noisy_parts(rng, 0.5, 0.8, n_rows=500)
    counts = rng.integers(1, 5, 500)
    weighted = blend_weights(logits, y_true, counts.astype(float))
    repeated = blend_weights(np.repeat(logits, counts, axis=1), np.repeat(y_true, counts))
    np.testing.assert_allclose(weighted, repeated, atol=1e-4)


def test_certain_logits_stay_finite(tmp_path):
    """Of probabilities of 0 and 1, and logits of a thousand."""
    keep_valid_logits(tmp_path / "model.json", np.array([0.0, 1e-300, 0.5, 1.0]))
    logits = np.load(tmp_path / VALID_LOGITS)
    assert np.isfinite(logits).all() and logits[2] == 0 and (np.diff(logits) >= 0).all()
    huge = np.array([[1000.0, -1000.0, 1000.0], [-1.0, 1.0, 1.0]])
    assert blend_weights(huge, np.array([0.0, 1.0, 1.0])).tolist() == [0, 1]


def train_part(folder, name, rng, *, bits=8, kind="ftrl"):
    """Leave behind what a training task does, and return its products and its predictions of validation rows."""
    contract = small_contract(bits=bits)
    learner = make_learner(kind, contract.n_features, random_state=1)
    rows = learnable_rows(rng, n_rows=300, contract=contract)
    learner.partial_fit_codes(rows.codes, rows.label)
    model, result = folder / name / "model.json", folder / f"train-{name}.json"
    p_click = predict_stream(learner, rows)[1]
    keep_valid_logits(model, p_click)
    save_model(model.parent, learner, contract, name=name)
    result.write_text(json.dumps({"name": name}))
    return {"result": str(result), "model": str(model)}, p_click


def test_parts_are_read_with_what_they_predicted(tmp_path, rng):
    """In the order of their names in the block."""
    a, p_a = train_part(tmp_path, "a", rng)
    b, p_b = train_part(tmp_path, "b", rng, kind="fm")
    models, logits = read_parts(["b", "a"], {"train-a": a, "train-b": b}, 300)
    assert [model.kind for model in models.values()] == ["fm", "ftrl"]
    np.testing.assert_allclose(sigmoid(logits), [p_b, p_a], rtol=1e-12)


def test_a_part_without_a_model_leaves_the_blend_without_one(tmp_path, rng):
    """A result, not a failure; in one line, with the reason of its training."""
    a, _ = train_part(tmp_path, "a", rng)
    b, _ = train_part(tmp_path, "b", rng)
    (tmp_path / "train-b.json").write_text(json.dumps({"refused": "a weight is not finite"}))
    with pytest.raises(
        DegenerateError, match="its part b has no model: a weight is not finite"
    ) as no:
        read_parts(["a", "b"], {"train-a": a, "train-b": b}, 300)
    assert "\n" not in str(no.value)


def test_parts_of_other_rows_are_one_line(tmp_path, rng):
    """Another contract, logits of other rows, none at all."""
    a, _ = train_part(tmp_path, "a", rng)
    b, _ = train_part(tmp_path, "b", rng, bits=9)
    upstream = {"train-a": a, "train-b": b}
    with pytest.raises(
        ContractError, match=r"the part b of the blend.*bits is 9, expected 8.*same features"
    ):
        read_parts(["a", "b"], upstream, 300)
    with pytest.raises(InputError, match="logits of 300 rows, but there are 299 validation rows"):
        read_parts(["a"], upstream, 299)
    (tmp_path / "a" / VALID_LOGITS).unlink()
    with pytest.raises(
        InputError, match=r"no logits of the validation rows.*train that part again"
    ):
        read_parts(["a"], upstream, 300)


def test_a_blends_history_is_one_step_of_its_metrics():
    """What the record of a training needs."""
    history = blend_history({"log_loss": 0.4, "roc_auc": 0.7}, seconds=2.0)
    assert (history.best_epoch, history.best_log_loss) == (1, 0.4)
    assert history.epochs[0].valid_roc_auc == 0.7
