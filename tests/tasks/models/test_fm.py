"""The factorization machine: scikit-learn's checks, two kernels, one slow twin, gradients by differences."""

import json

import numpy as np
import pytest
from scipy import sparse
from sklearn.utils.estimator_checks import parametrize_with_checks

from tasks.errors import ConfigError, ContractError, InputError
from tasks.evaluation.importance import field_importance
from tasks.models import make_learner
from tasks.models.artifact import ScoringModel, freeze, load_model, save_model
from tasks.models.fm import FactorizationMachine
from tasks.models.sgd import to_csr
from tasks.training.fit import fit_stream
from tests import naive
from tests.tasks.models.checks import check_learner
from tests.tasks.models.rows import MemoryRows, learnable_rows, random_codes, small_contract
from tests.tasks.models.test_ftrl import naive_rows

KNOBS = {
    "alpha": 0.2, "beta": 0.7, "l1": 0.1, "l2": 0.4, "n_factors": 3, "factor_alpha": 0.3,
    "factor_beta": 0.6, "factor_l2": 0.01, "factor_init": 0.4, "min_evidence": 1.5, "random_state": 9,
}  # fmt: skip
WEIGHT_IS_NOT_REPETITION = (
    "each update moves the rate, so a row of weight 2 is not two rows; FTRLProximal says so"
)
EXPECTED = {
    f"check_sample_weight_equivalence_on_{kind}_data": WEIGHT_IS_NOT_REPETITION
    for kind in ("dense", "sparse")
}
ROWS = [{"site": "a", "size": 3, "noise": None}, {"site": "b"}, {}, {"site": "ü", "size": 1.5}]


def test_it_is_a_learner_of_the_pipeline():
    """All that training and serving need."""
    check_learner("fm", min_evidence=5.0)


@parametrize_with_checks(
    [FactorizationMachine(), FactorizationMachine(min_evidence=0)],
    expected_failed_checks=lambda _: EXPECTED,
)
def test_scikit_learns_own_checks(estimator, check):
    """Everything that scikit-learn expects of a classifier, with vectors late and at once."""
    check(estimator)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def rows(rng):
    """150 rows of 5 tokens in 16 buckets: many rows have two tokens in one bucket."""
    return random_codes(rng, n_rows=150, n_tokens=5, n_features=16), rng.integers(0, 2, 150)


@pytest.fixture
def learner(rows):
    return FactorizationMachine(n_features=16, **KNOBS).partial_fit_codes(*rows)


def assert_follows(learner, twin):
    z, n, vectors, squares, _ = twin
    np.testing.assert_allclose(learner.state_, np.column_stack([z, n]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(learner.factor_state_[:, 0], vectors, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(learner.factor_state_[:, 1], squares, rtol=1e-4, atol=1e-5)


def test_the_codes_kernel_follows_the_twin(rows, learner):
    """State and loss, to what float32 vectors keep; tokens that share a bucket included."""
    codes, y = rows
    twin = naive.fm(naive_rows(codes), y, n_features=16, **KNOBS)
    assert_follows(learner, twin)
    assert learner.loss_ == pytest.approx(twin[-1] / 150, rel=1e-6)
    assert np.abs(learner.latent_).max() > 0.3


def test_the_matrix_kernel_follows_the_twin(rng):
    """Values of any size: a vector's gradient has the value, its sum the square."""
    X = sparse.random_array((90, 9), density=0.4, rng=rng, format="csr") * 1.5
    y = rng.integers(0, 2, 90)
    learner = FactorizationMachine(**KNOBS).partial_fit(X, y)
    dense = [[(int(j), row[j]) for j in np.flatnonzero(row)] for row in X.toarray()]
    assert_follows(learner, naive.fm(dense, y, n_features=9, **KNOBS))
    logits = [
        naive.fm_logit(row, learner.coef_[0], learner.latent_.astype(float), learner.intercept_[0])
        for row in dense
    ]
    np.testing.assert_allclose(learner.decision_function(X), logits, rtol=1e-9)
    np.testing.assert_allclose(learner.decision_function(X.toarray()), logits, rtol=1e-9)


def test_the_two_kernels_are_twins(rows, learner):
    """Codes and a matrix with duplicates left apart end in the same bits."""
    codes, y = rows
    by_matrix = FactorizationMachine(**KNOBS).partial_fit(to_csr(codes, 16), y)
    np.testing.assert_array_equal(learner.state_, by_matrix.state_)
    np.testing.assert_array_equal(learner.factor_state_, by_matrix.factor_state_)


def test_row_weights_follow_the_twin(rows, rng):
    """A weight multiplies the gradient and the loss; rows of weight 0 are no rows."""
    codes, y = rows
    weights = rng.random(150) * 3 * (rng.random(150) < 0.8)
    learner = FactorizationMachine(n_features=16, **KNOBS)
    learner.partial_fit_codes(codes, y, sample_weight=weights)
    twin = naive.fm(naive_rows(codes), y, n_features=16, row_weights=weights, **KNOBS)
    assert_follows(learner, twin)
    assert learner.loss_ == pytest.approx(twin[-1] / weights.sum(), rel=1e-6)
    seen = weights > 0
    removed = FactorizationMachine(n_features=16, **KNOBS)
    removed.partial_fit_codes(codes[seen], y[seen], sample_weight=weights[seen])
    np.testing.assert_array_equal(learner.factor_state_, removed.factor_state_)


def test_the_step_is_the_gradient_of_the_loss(rows):
    """With a rate of 1 a step is the finite difference of the row's log loss."""
    codes, y = rows
    knobs = KNOBS | {"factor_l2": 0.0, "factor_beta": 1e3, "factor_alpha": 1e3}
    learner = FactorizationMachine(n_features=16, **knobs).partial_fit_codes(codes, y)
    learner.factor_state_[:, 1] = 0
    weights, bias = learner.coef_[0], learner.intercept_[0]
    before = learner.latent_.astype(float)
    row = [(1, 1.0), (4, -1.0), (7, 1.0)]

    def loss(vectors):
        logit = naive.fm_logit(row, weights, vectors, bias)
        return np.logaddexp(0, logit) - logit

    learner.partial_fit_codes(np.array([[1, ~4, 7]], dtype=np.int32), [1])
    for at in [(index, factor) for index in (1, 4, 7) for factor in range(3)]:
        step = np.zeros_like(before)
        step[at] = 1e-5
        expected = (loss(before + step) - loss(before - step)) / 2e-5
        moved = (before - learner.latent_)[at]
        assert moved == pytest.approx(expected, rel=2e-3, abs=1e-6)


def test_rows_in_any_batches_end_in_the_same_bits(rows, learner):
    """One batch, many batches, a second run, read-only rows: equal to the last bit."""
    codes, y = rows
    codes.flags.writeable = False
    pieces = FactorizationMachine(n_features=16, **KNOBS)
    for begin in range(0, 150, 7):
        pieces.partial_fit_codes(codes[begin : begin + 7], y[begin : begin + 7])
    np.testing.assert_array_equal(learner.state_, pieces.state_)
    np.testing.assert_array_equal(learner.factor_state_, pieces.factor_state_)


def test_the_order_of_rows_matters(rows, learner):
    """It is online learning: another order is another model, as for FTRL."""
    codes, y = rows
    turned = FactorizationMachine(n_features=16, **KNOBS).partial_fit_codes(codes[::-1], y[::-1])
    assert np.abs(turned.latent_ - learner.latent_).max() > 1e-3


def test_first_vectors_depend_on_seed_and_index_alone():
    """Whatever came before: two learners that opened a token in other rows drew the same."""
    knobs = KNOBS | {"min_evidence": 0.0}
    one = FactorizationMachine(n_features=16, **knobs)
    one.partial_fit_codes(np.array([[3, 5]], dtype=np.int32), [1])
    other = FactorizationMachine(n_features=16, **knobs)
    other.partial_fit_codes(np.array([[7, 7], [1, ~3]], dtype=np.int32), [1, 0])
    np.testing.assert_array_equal(one.latent_[3], other.latent_[3])
    expected = [0.4 * naive.first_factor(9, 3, a) for a in range(3)]
    np.testing.assert_allclose(one.latent_[3], expected, rtol=1e-6)
    reseeded = FactorizationMachine(n_features=16, **knobs | {"random_state": 10})
    reseeded.partial_fit_codes(np.array([[3, 5]], dtype=np.int32), [1])
    assert np.abs(reseeded.latent_[3] - one.latent_[3]).max() > 0.01


def test_tokens_without_evidence_have_no_vector(rows):
    """Then it is FTRL, to the last bit."""
    codes, y = rows
    linear = {key: KNOBS[key] for key in ("alpha", "beta", "l1", "l2")}
    machine = make_learner("fm", 16, **linear, min_evidence=1e9).partial_fit_codes(codes, y)
    plain = make_learner("ftrl", 16, **linear).partial_fit_codes(codes, y)
    assert not machine.latent_.any()
    np.testing.assert_array_equal(machine.state_, plain.state_)


def test_extreme_logits_stay_finite(learner):
    """A logit of thousands costs its own size, and neither overflows nor becomes NaN."""
    learner.factor_state_[:2, 0] = 40.0
    learner.state_[:2, 1] = 10.0
    row = np.array([[0, 1]], dtype=np.int32)
    assert learner.predict_codes(row)[0] == 1
    assert learner.decision_codes(row)[0] > 4000
    learner.partial_fit_codes(row, [0])
    assert learner.loss_ > 4000
    assert np.isfinite(learner.factor_state_).all()
    assert np.isfinite(learner.state_).all()


def agreeing_rows(rng, n_rows):
    """Rows whose click depends on whether site and size agree, which no linear model can see."""
    values = rng.integers(0, 4, (n_rows, 3))
    logit = np.where(values[:, 0] == values[:, 1], 1.5, -1.5)
    label = (rng.random(n_rows) < 1 / (1 + np.exp(-logit))).astype(np.uint8)
    codes = (values + np.array([0, 10, 20])).astype(np.int32)
    return MemoryRows(codes, label, small_contract())


def test_pairs_are_learnt_where_a_linear_model_learns_nothing(rng):
    """Early stopping and all."""
    train, valid = agreeing_rows(rng, 4000), agreeing_rows(rng, 1000)
    knobs = {"factor_alpha": 0.2, "factor_init": 0.2, "min_evidence": 5, "random_state": 1}
    machine = fit_stream(make_learner("fm", 256, **knobs), train, valid, max_epochs=8)
    plain = fit_stream(make_learner("ftrl", 256), train, valid, max_epochs=8)
    assert machine.best_log_loss < 0.85 * plain.best_log_loss


def test_a_snapshot_brings_back_what_was_learnt(rows, learner):
    """Training on after a snapshot does not reach it."""
    codes, y = rows
    snapshot, expected = learner.snapshot(), learner.decision_codes(codes)
    learner.partial_fit_codes(codes, 1 - y).restore(snapshot)
    np.testing.assert_array_equal(learner.decision_codes(codes), expected)


@pytest.mark.parametrize(
    "params",
    [
        {"factor_alpha": 0}, {"factor_beta": 0}, {"factor_l2": -1}, {"factor_init": float("inf")},
        {"min_evidence": -1}, {"n_factors": 0}, {"n_factors": 2.5}, {"random_state": -1}, {"alpha": 0},
    ],
)  # fmt: skip
def test_parameters_out_of_range_are_named(params):
    """A knob that cannot work stops before the first row."""
    with pytest.raises(ConfigError, match=f"fm: {next(iter(params))}"):
        FactorizationMachine(**params).check_params()


# ---- the artefact


@pytest.fixture
def trained():
    rows = learnable_rows(np.random.default_rng(0), n_rows=800, contract=small_contract())
    learner = make_learner("fm", 256, random_state=1, min_evidence=5, factor_init=0.5)
    return learner.partial_fit_codes(rows.codes, rows.label)


@pytest.fixture
def folder(trained, tmp_path):
    save_model(tmp_path / "m", trained, small_contract(), name="pairs")
    return tmp_path / "m"


def test_the_saved_model_predicts_what_the_learner_did(trained, folder):
    """To what float32 weights keep; its vectors are exact."""
    rows = learnable_rows(np.random.default_rng(1), n_rows=200, contract=small_contract())
    model = load_model(folder)
    assert (model.kind, model.arrays["latent"].dtype, model.arrays["latent"].flags.writeable) == (
        "fm", np.float32, False,
    )  # fmt: skip
    np.testing.assert_array_equal(model.arrays["latent"], trained.latent_)
    np.testing.assert_allclose(
        model.predict_codes(rows.codes), trained.predict_codes(rows.codes), atol=1e-6
    )


def test_one_row_and_a_batch_give_the_same_bits(folder):
    """The service's path and the pipeline's are one sum, and it is Rendle's."""
    model = load_model(folder)
    codes = model.encoder.encode_rows(ROWS)
    np.testing.assert_array_equal(
        [model.predict_row(row) for row in ROWS], model.predict_rows(ROWS)
    )
    logits = [
        naive.fm_logit(
            row, model.weights.astype(float), model.arrays["latent"].astype(float), model.intercept
        )
        for row in naive_rows(codes)
    ]
    np.testing.assert_allclose(model.logits(codes), logits, rtol=1e-12)
    assert type(model.predict_row(ROWS[0])) is float


def test_contributions_share_pairs_evenly_and_add_up(folder):
    """Each token's weight and half of its pairs; importance is found from them."""
    model = load_model(folder)
    rows = learnable_rows(np.random.default_rng(1), n_rows=200, contract=small_contract())
    parts = model.contributions_codes(rows.codes)
    np.testing.assert_allclose(parts.sum(axis=1) + model.intercept, model.logits(rows.codes))
    weights, vectors = model.weights.astype(float), model.arrays["latent"].astype(float)
    first, second, third = rows.codes[0]
    half = 0.5 * (vectors[first] @ vectors[second] + vectors[first] @ vectors[third])
    assert parts[0, 0] == pytest.approx(weights[first] + half)
    assert np.abs(parts - weights[rows.codes]).max() > 1e-3
    assert field_importance(model, rows)["field"][0] == "site"


def test_the_version_covers_the_vectors(trained, folder, tmp_path):
    """One factor more or less is another model."""
    before = load_model(folder).version
    assert save_model(tmp_path / "again", trained, small_contract(), name="x").version == before
    trained.factor_state_[250, 0, 0] += 1
    assert freeze(trained, small_contract(), name="x").version != before


def change_vector(folder):
    latent = np.load(folder / "latent.npy")
    latent[3] += 1
    np.save(folder / "latent.npy", latent)


def change_kind(folder):
    record = json.loads((folder / "model.json").read_text()) | {"kind": "ftrl"}
    (folder / "model.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_vector, "a file was changed"),
        (change_kind, "a file was changed"),
        (lambda folder: (folder / "latent.npy").unlink(), "no readable model"),
        (
            lambda folder: (folder / "latent.npy").write_bytes(
                (folder / "latent.npy").read_bytes()[:-100]
            ),
            "no readable model",
        ),
    ],
)
def test_a_damaged_model_is_refused(folder, damage, message):
    """Before it answers anybody."""
    damage(folder)
    with pytest.raises(InputError, match=message):
        load_model(folder)


def test_foreign_vectors_are_refused():
    """Of another number of tokens."""
    arrays = {
        "weights": np.zeros(256, dtype=np.float32),
        "latent": np.zeros((128, 4), dtype=np.float32),
    }
    with pytest.raises(ContractError, match="vectors must be float32"):
        ScoringModel(arrays, 0.0, small_contract(), kind="fm", name="m", params={})


def test_a_linear_kind_has_no_vectors():
    """And the other kind cannot do without."""
    weights, knobs = np.zeros(256, dtype=np.float32), {"name": "m", "params": {}}
    with pytest.raises(InputError, match="needs the arrays weights, latent"):
        ScoringModel({"weights": weights}, 0.0, small_contract(), kind="fm", **knobs)
    both = {"weights": weights, "latent": weights[:, None]}
    with pytest.raises(InputError, match="needs the arrays weights, found weights, latent"):
        ScoringModel(both, 0.0, small_contract(), kind="ftrl", **knobs)


def test_vectors_that_are_not_finite_are_not_saved(trained, tmp_path):
    """A diverged model must not serve, and leaves no file."""
    trained.factor_state_[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        save_model(tmp_path / "m", trained, small_contract(), name="nan")
    assert not (tmp_path / "m").exists()
