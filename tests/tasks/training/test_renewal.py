"""The model that serves has learned the test rows as it learned the others, and is held against the one that was judged."""

import json

import numpy as np
import pytest

from tasks.evaluation.metrics import calibration_ratio, log_loss
from tasks.hashing.contract import HashContract
from tasks.hashing.feature_set import FeatureSet
from tasks.hashing.split_features import write_split
from tasks.ingest import ingest_log
from tasks.logs.learned import learned_rows, unlearned
from tasks.logs.log import Log
from tasks.logs.split import split_log
from tasks.models.artifact import load_model, save_model
from tasks.models.predict import predict_stream
from tasks.training.fit import learn_epochs
from tasks.training.renewal import recipe_of, refusal_of, renew, shift_of, way_of
from tasks.training.sampling import Joined
from tasks.training.warm import RECIPE, learner_of, save_state
from tests.logs import SMALL, hours_of, rows, write_lines

KNOBS = {
    "way": "anew", "max_logit_shift": 3.0, "max_extra_loss": 0.0, "calibration_ratio": [0.5, 2.0],
}  # fmt: skip


@pytest.fixture(scope="module")
def hashed(tmp_path_factory):
    """The feature sets of a log of five days, in their folder, and the log."""
    folder = tmp_path_factory.mktemp("renewal")
    source = write_lines(folder / "raw.csv", rows(1500, hours=hours_of(5)))
    ingest_log(str(source), folder / "log", schema=SMALL)
    log = Log.open(folder / "log")
    contract = HashContract.from_schema(SMALL, bits=8)
    write_split(log, split_log(log), contract, folder / "features", 200)
    return folder / "features", log


def judged_in(folder, features, *, kind="ftrl", n_epochs=2, **changes):
    """Train a model on the training and validation rows as the notebook does, and return its folder."""
    parts = [FeatureSet(features / name) for name in ("train", "valid")]
    how = {"n_tokens": 24, "n_epochs": n_epochs, "negative_rate": 1.0, "seed": 5}
    recipe = recipe_of({"kind": kind, "search": {}}, {}, **how)
    learner = learner_of(recipe, parts[0].contract.n_features)
    learn_epochs(learner, Joined(*parts), max_epochs=n_epochs, seed=5)
    info = {
        "log_digest": parts[0].manifest["log_digest"],
        "learned": learned_rows(*(one.manifest for one in parts)),
        RECIPE: recipe,
    }
    save_model(folder, learner, parts[0].contract, name=kind, info=info | changes)
    save_state(folder, learner)
    return folder


def logits_of(learner, features):
    """Return a learner's logits for the test rows."""
    return learner.decision_codes(FeatureSet(features / "test").load().codes)


def test_anew_is_the_same_training_on_all_rows(hashed, tmp_path):
    """Parameters, epochs and seed are those of the judged model; its weights are those of a training by hand."""
    features, _ = hashed
    judged = judged_in(tmp_path / "model", features)
    found = renew(judged, features, tmp_path / "served", knobs=KNOBS)
    parts = [FeatureSet(features / name) for name in ("train", "valid", "test")]
    by_hand = learner_of(load_model(judged).info[RECIPE], parts[0].contract.n_features)
    for _ in range(2):
        for part in parts:
            for batch in part.batches():
                by_hand.partial_fit_codes(batch.codes, batch.label)
    served = load_model(tmp_path / "served")
    np.testing.assert_array_equal(served.weights, by_hand.arrays()["weights"].astype(np.float32))
    assert served.version == found.model.version != load_model(judged).version
    assert "learned the 300 test rows too before it serves, from scratch in 2 epochs" in found.line
    y_true, p_click = predict_stream(served, parts[-1])
    np.testing.assert_array_equal(found.p_click, p_click)
    assert found.shift.calibration_ratio == calibration_ratio(y_true, p_click)


def test_its_file_says_what_it_has_learned_and_what_was_judged(hashed, tmp_path):
    """So that no row that it learned judges it; the judged one is still fresh for the test rows."""
    features, log = hashed
    judged = judged_in(tmp_path / "model", features)
    renew(judged, features, tmp_path / "served", knobs=KNOBS)
    served, before = (load_model(tmp_path / name) for name in ("served", "model"))
    test = tuple(FeatureSet(features / "test").manifest["span"])
    assert not unlearned(served.info, log, SMALL.time_column, test).any()
    assert unlearned(before.info, log, SMALL.time_column, test).all()
    assert served.info["judged"] == {"version": before.version, "learned": before.info["learned"]}
    assert served.info["rows"] == log.n_rows


def test_warm_goes_on_with_the_test_rows_alone(hashed, tmp_path):
    """From the state that the judged model kept."""
    features, _ = hashed
    judged = judged_in(tmp_path / "model", features)
    found = renew(judged, features, tmp_path / "served", knobs=KNOBS | {"way": "warm"})
    assert "going on for 2 epochs" in found.line
    parts = [FeatureSet(features / name) for name in ("train", "valid", "test")]
    by_hand = learner_of(load_model(judged).info[RECIPE], parts[0].contract.n_features)
    for some in (parts[:2], parts[:2], parts[2:], parts[2:]):
        for batch in Joined(*some).batches():
            by_hand.partial_fit_codes(batch.codes, batch.label)
    served = load_model(tmp_path / "served").weights
    np.testing.assert_array_equal(served, by_hand.arrays()["weights"].astype(np.float32))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"max_logit_shift": 1e-9}, "its logits move by"),
        ({"calibration_ratio": [1.0, 1.0]}, "its calibration ratio is"),
        ({"max_extra_loss": -0.9}, "its log loss on them is"),
    ],
)
def test_one_that_is_out_of_bounds_does_not_serve(hashed, tmp_path, changes, why):
    """The judged one serves, with a line that names the knob; nothing is written."""
    features, _ = hashed
    judged = judged_in(tmp_path / "model", features)
    found = renew(judged, features, tmp_path / "served", knobs=KNOBS | changes)
    assert found.model is None
    assert found.line.startswith("ftrl serves as it was judged: with the test rows ")
    assert why in found.line
    assert not (tmp_path / "served").exists()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({RECIPE: None}, "serves as it was judged: its file does not say how it was trained"),
    ],
)
def test_a_model_that_does_not_say_how_it_was_trained_serves_as_judged(
    hashed, tmp_path, changes, why
):
    """One of an older release, or one that is made of others."""
    features, _ = hashed
    judged = judged_in(tmp_path / "model", features, **changes)
    assert why in renew(judged, features, tmp_path / "served", knobs=KNOBS).line


def test_a_model_of_another_contract_serves_as_judged(hashed, tmp_path):
    """Its rows are not these."""
    features, log = hashed
    judged = judged_in(tmp_path / "model", features)
    write_split(log, split_log(log), HashContract.from_schema(SMALL, bits=9), tmp_path / "other")
    found = renew(judged, tmp_path / "other", tmp_path / "served", knobs=KNOBS)
    assert "hashed anew" in found.line


def test_an_estimator_is_trained_anew_on_all_rows(hashed, tmp_path):
    """Also where the way is warm: it has nothing to go on from."""
    features, _ = hashed
    kind = "sklearn.linear_model:LogisticRegression"
    parts = [FeatureSet(features / name) for name in ("train", "valid")]
    how = {"n_tokens": 24, "n_epochs": 1, "negative_rate": 1.0, "seed": 5}
    recipe = recipe_of({"kind": kind, "input": "hashed"}, {"C": 0.1}, **how)
    learner = learn_epochs(
        learner_of(recipe, parts[0].contract.n_features), Joined(*parts), max_epochs=1
    )
    info = {"learned": learned_rows(*(one.manifest for one in parts)), RECIPE: recipe}
    save_model(tmp_path / "model", learner, parts[0].contract, name="lr", info=info)
    knobs = KNOBS | {"way": "warm", "max_extra_loss": 0.5}
    found = renew(tmp_path / "model", features, tmp_path / "served", knobs=knobs)
    assert "from scratch in 1 epoch (" in found.line
    assert load_model(tmp_path / "served").info["rows"] == 1500


def test_the_shift_is_that_of_a_calculation_by_hand():
    """Weighted rows count as so many."""
    y_true, before, after = np.array([1.0, 0.0]), np.array([0.4, 0.2]), np.array([0.5, 0.2])
    weight = np.array([3.0, 1.0])
    shift = shift_of(y_true, before, after, weight)
    assert shift.logit == pytest.approx(0.75 * (0 - np.log(0.4 / 0.6)))
    assert shift.calibration_ratio == pytest.approx((3 * 0.5 + 0.2) / 3)
    losses = [log_loss(y_true, p, weight) for p in (before, after)]
    assert shift.extra_loss == pytest.approx(losses[1] / losses[0] - 1)


def test_no_number_is_refused():
    """NaN lies in no bounds."""
    nan = float("nan")
    shift = shift_of(np.array([0.0, 0.0]), np.array([0.1, 0.2]), np.array([0.1, 0.2]))
    assert shift.calibration_ratio != shift.calibration_ratio  # no click
    assert "its calibration ratio is nan" in refusal_of(shift, KNOBS)
    assert refusal_of(shift._replace(logit=nan), KNOBS) is not None


def test_auto_is_what_the_back_test_beside_the_product_found(tmp_path):
    """Without one, or with one that cannot be read, it is anew."""
    product = tmp_path / "promotion.json"
    assert way_of({"way": "warm"}, product) == "warm"
    assert way_of({"way": "auto"}, product) == "anew"
    (tmp_path / "backtest.json").write_text(json.dumps({"way": "warm"}))
    assert way_of({"way": "auto"}, product) == "warm"
    (tmp_path / "backtest.json").write_text("{")
    assert way_of({"way": "auto"}, product) == "anew"
