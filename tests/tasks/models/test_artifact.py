"""The artefact: what is loaded predicts what was saved, and nothing damaged is loaded."""

import json
import mmap

import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import ContractError, InputError
from tasks.models import make_learner
from tasks.models.artifact import load_model, save_model
from tests.tasks.models.rows import learnable_rows, small_contract

ROWS = [
    {"site": "a", "size": 3, "noise": None},
    {"site": "b"},
    {},
    {"site": "ü", "size": 1.5, "other": "ignored"},
]


@pytest.fixture(params=["ftrl", "sgd"])
def learner(request):
    rows = learnable_rows(np.random.default_rng(0), n_rows=500, contract=small_contract())
    return make_learner(request.param, 256, random_state=1).partial_fit_codes(
        rows.codes, rows.label
    )


@pytest.fixture
def folder(learner, tmp_path):
    save_model(tmp_path / "m", learner, small_contract(), name="first", info={"seed": 7})
    return tmp_path / "m"


def test_the_saved_model_predicts_what_the_learner_did(learner, folder):
    """To what float32 weights keep."""
    rows = learnable_rows(np.random.default_rng(1), n_rows=200, contract=small_contract())
    model = load_model(folder)
    np.testing.assert_allclose(
        model.predict_codes(rows.codes), learner.predict_codes(rows.codes), atol=1e-6
    )
    assert (model.name, model.info, model.contract) == ("first", {"seed": 7}, small_contract())


def test_one_row_and_a_batch_give_the_same_bits(folder):
    """The service's path and the pipeline's are one sum."""
    model = load_model(folder)
    one_by_one = [model.predict_row(row) for row in ROWS]
    np.testing.assert_array_equal(one_by_one, model.predict_rows(ROWS))
    assert all(type(p) is float for p in one_by_one)


def test_contributions_add_up_to_the_logit(folder):
    """Each token's part, and the bias."""
    model = load_model(folder)
    codes = model.encoder.encode_rows(ROWS)
    np.testing.assert_allclose(
        model.contributions_codes(codes).sum(axis=1) + model.intercept, model.logits(codes)
    )


def test_the_version_is_the_content(learner, folder, tmp_path):
    """Another name or note changes nothing; another weight, parameter or contract does."""
    version = load_model(folder).version
    again = save_model(
        tmp_path / "again", learner, small_contract(), name="second", info={"seed": 8}
    )
    assert again.version == version
    other = save_model(
        tmp_path / "other", learner.set_params(alpha=0.33), small_contract(), name="first"
    )
    learner.partial_fit_codes(np.array([[1, 2, 3]], dtype=np.int32), [1])
    more = save_model(tmp_path / "more", learner, small_contract(), name="first")
    assert len({version, other.version, more.version}) == 3


def test_weights_are_mapped_and_read_only(folder):
    """Workers share one copy in memory, and nobody writes to it."""
    weights = load_model(folder).weights
    owner = weights
    while isinstance(owner, np.ndarray):
        owner = owner.base
    assert isinstance(owner, mmap.mmap)
    with pytest.raises(ValueError, match="read-only"):
        weights[0] = 1


def test_nothing_is_pickled(folder):
    """Arrays and JSON; reading the file runs no code."""
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "weights.npy"]
    assert np.load(folder / "weights.npy", allow_pickle=False).dtype == np.float32


def change_weight(folder):
    weights = np.load(folder / "weights.npy")
    weights[3] += 1
    np.save(folder / "weights.npy", weights)


def change_json(folder, **changes):
    record = json.loads((folder / "model.json").read_text()) | changes
    (folder / "model.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_weight, "a file was changed"),
        (lambda folder: change_json(folder, intercept=0.5), "a file was changed"),
        (lambda folder: change_json(folder, format=99), "format 99"),
        (lambda folder: (folder / "model.json").write_text("{"), "no readable model"),
        (lambda folder: (folder / "weights.npy").unlink(), "no readable model"),
        (lambda folder: (folder / "weights.npy").write_bytes(b"\x93NUMPY"), "no readable model"),
        (
            lambda folder: np.save(folder / "weights.npy", np.array(["a"] * 256)),
            "no readable model",
        ),
        (lambda folder: change_json(folder, params=[1]), "no readable model"),
        (lambda folder: change_json(folder, version=None), "a file was changed"),
        (lambda folder: (folder / "model.json").write_text("[" * 100_000), "no readable model"),
    ],
)
def test_a_damaged_model_is_refused(folder, damage, message):
    """Before it answers anybody."""
    damage(folder)
    with pytest.raises(InputError, match=message):
        load_model(folder)


def test_a_contract_of_another_size_is_refused(learner, tmp_path):
    """A model of 256 weights cannot belong to a contract of 512."""
    with pytest.raises(ContractError, match="9 bits"):
        save_model(tmp_path, learner, small_contract(bits=9), name="wrong")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e45])
def test_weights_that_are_not_finite_are_not_saved(learner, tmp_path, value):
    """A diverged model must not serve, and leaves no file; nor one too large for float32."""
    for array in (getattr(learner, "state_", None), learner.__dict__.get("coef_")):
        if array is not None:
            array[0, 0] = value
    with pytest.raises(InputError, match="not finite"):
        save_model(tmp_path / "m", learner, small_contract(), name="nan")
    assert not (tmp_path / "m").exists()


def test_an_arrow_batch_is_predicted_like_its_rows(folder):
    """Columns or rows, the same bits."""
    model = load_model(folder)
    texts = {"site": ["a", "b"], "size": ["3", None], "noise": [None, "z"]}
    rows = [dict(zip(texts, values, strict=True)) for values in zip(*texts.values(), strict=True)]
    np.testing.assert_array_equal(model.predict_batch(pa.table(texts)), model.predict_rows(rows))
