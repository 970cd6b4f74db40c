"""FTRL-proximal over tokens and pairs: scikit-learn's checks, two kernels, one slow twin, bounded rows."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.utils.estimator_checks import parametrize_with_checks

from tasks.errors import ConfigError, ContractError, InputError
from tasks.evaluation.importance import field_importance
from tasks.hashing.codes import NO_TOKEN
from tasks.models import make_learner
from tasks.models.artifact import ScoringModel, freeze, load_model, save_model
from tasks.models.ftrl_pairs import FTRLPairs
from tasks.models.hashed_pair_scoring import MAX_TOKENS
from tasks.models.sgd import to_csr
from tasks.serving.live import LiveScorer
from tasks.training.epochs import Training
from tests import naive
from tests.tasks.models.checks import check_learner
from tests.tasks.models.rows import learnable_rows, random_codes, small_contract
from tests.tasks.models.test_ftrl import naive_rows

KNOBS = {
    "alpha": 0.2, "beta": 0.7, "l1": 0.1, "l2": 0.4,
    "pair_alpha": 0.1, "pair_l1": 0.05, "pair_l2": 0.3, "pair_bits": 6,
}  # fmt: skip
WEIGHT_IS_NOT_REPETITION = (
    "each update moves the rate, so a row of weight 2 is not two rows; FTRLProximal says so"
)
EXPECTED = {
    f"check_sample_weight_equivalence_on_{kind}_data": WEIGHT_IS_NOT_REPETITION
    for kind in ("dense", "sparse")
}
TAGS = {"site": {}, "tags": {"type": "list", "max_items": 4}}


def test_it_is_a_learner_of_the_pipeline():
    """All that training and serving need."""
    check_learner("ftrl_pairs", pair_bits=12)


@parametrize_with_checks([FTRLPairs(pair_bits=10)], expected_failed_checks=lambda _: EXPECTED)
def test_scikit_learns_own_checks(estimator, check):
    """Everything that scikit-learn expects of a classifier."""
    check(estimator)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def rows(rng):
    """150 rows of 5 tokens in 16 buckets: tokens and pairs of one row share buckets."""
    return random_codes(rng, n_rows=150, n_tokens=5, n_features=16), rng.integers(0, 2, 150)


@pytest.fixture
def learner(rows):
    return FTRLPairs(n_features=16, **KNOBS).partial_fit_codes(*rows)


def assert_equals(learner, twin, *, rtol=1e-12):
    z, n, pair_z, pair_n, _ = twin
    np.testing.assert_allclose(learner.state_, np.column_stack([z, n]), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(
        learner.pair_state_, np.column_stack([pair_z, pair_n]), rtol=rtol, atol=rtol
    )


def test_the_codes_kernel_equals_ftrl_on_pairs_written_out(rows, learner):
    """State and loss of the slow twin, whose pairs are features; to float32's last digits if its pairs are float64."""
    codes, y = rows
    twin = naive.ftrl_pairs(naive_rows(codes), y, n_features=16, **KNOBS)
    assert_equals(learner, twin)
    assert learner.loss_ == pytest.approx(twin[-1] / 150, rel=1e-12)
    assert np.abs(learner.pair_coef_).max() > 0.05
    exact = naive.ftrl_pairs(naive_rows(codes), y, n_features=16, small=float, **KNOBS)
    assert_equals(learner, exact, rtol=1e-4)


def test_the_matrix_kernel_equals_the_twin(rng):
    """The value of a pair is the product of two values of any size."""
    X = sparse.random_array((90, 9), density=0.4, rng=rng, format="csr") * 1.5
    y = rng.integers(0, 2, 90)
    learner = FTRLPairs(**KNOBS).partial_fit(X, y)
    dense = [[(int(j), row[j]) for j in np.flatnonzero(row)] for row in X.toarray()]
    assert_equals(learner, naive.ftrl_pairs(dense, y, n_features=9, **KNOBS))
    logits = [logit_of(learner, row) for row in dense]
    np.testing.assert_allclose(learner.decision_function(X), logits, rtol=1e-9)
    np.testing.assert_allclose(learner.decision_function(X.toarray()), logits, rtol=1e-9)


def logit_of(learner, row):
    """Return the sum over tokens and pairs, one by one."""
    weights, pairs = learner.coef_[0], learner.pair_coef_.astype(float)
    logit = learner.intercept_[0] + sum(weights[index] * value for index, value in row)
    for first, (i, x) in enumerate(row):
        for j, y in row[first + 1 :]:
            logit += pairs[naive.pair_bucket(i, j, learner.pair_bits)] * x * y
    return logit


def test_the_two_kernels_are_twins(rows, learner):
    """Codes and a matrix with duplicates left apart end in the same bits."""
    codes, y = rows
    by_matrix = FTRLPairs(**KNOBS).partial_fit(to_csr(codes, 16), y)
    np.testing.assert_array_equal(learner.state_, by_matrix.state_)
    np.testing.assert_array_equal(learner.pair_state_, by_matrix.pair_state_)
    np.testing.assert_allclose(
        learner.decision_codes(codes), by_matrix.decision_function(to_csr(codes, 16)), atol=1e-12
    )


def test_row_weights_equal_the_twin(rows, rng):
    """A weight multiplies the gradient and the loss; rows of weight 0 are no rows."""
    codes, y = rows
    weights = rng.random(150) * 3 * (rng.random(150) < 0.8)
    learner = FTRLPairs(n_features=16, **KNOBS)
    learner.partial_fit_codes(codes, y, sample_weight=weights)
    assert_equals(
        learner,
        naive.ftrl_pairs(naive_rows(codes), y, n_features=16, row_weights=weights, **KNOBS),
    )
    seen = weights > 0
    removed = FTRLPairs(n_features=16, **KNOBS)
    removed.partial_fit_codes(codes[seen], y[seen], sample_weight=weights[seen])
    np.testing.assert_array_equal(learner.pair_state_, removed.pair_state_)


def test_places_without_a_token_are_in_no_pair(rows):
    """They change nothing, wherever they are; a row may have no token at all."""
    codes, y = rows
    wide = np.full((150, 9), NO_TOKEN, dtype=np.int32)
    wide[:, [0, 2, 3, 6, 7]] = codes
    one, other = (FTRLPairs(n_features=16, **KNOBS).partial_fit_codes(c, y) for c in (codes, wide))
    np.testing.assert_array_equal(one.pair_state_, other.pair_state_)
    np.testing.assert_array_equal(one.decision_codes(codes), other.decision_codes(wide))
    alone = wide[:1] * 0 + NO_TOKEN
    assert other.decision_codes(alone)[0] == other.bias
    before = other.pair_state_.copy()
    other.partial_fit_codes(alone, [1])
    np.testing.assert_array_equal(other.pair_state_, before)


def test_a_pair_has_no_order(rows, learner):
    """Columns in another order, such as the items of a list, give the same logits."""
    codes, _ = rows
    np.testing.assert_allclose(
        learner.decision_codes(codes), learner.decision_codes(codes[:, ::-1]), rtol=1e-12
    )


def test_rows_in_any_batches_end_in_the_same_bits(rows, learner):
    """The row ahead is prepared within a batch only; nothing depends on it."""
    codes, y = rows
    pieces = FTRLPairs(n_features=16, **KNOBS)
    for begin in range(0, 150, 7):
        pieces.partial_fit_codes(codes[begin : begin + 7], y[begin : begin + 7])
    np.testing.assert_array_equal(learner.state_, pieces.state_)
    np.testing.assert_array_equal(learner.pair_state_, pieces.pair_state_)


def test_pairs_spread_evenly_over_the_buckets():
    """Pearson's chi-squared of the pairs of 300 tokens in 256 buckets is within four standard deviations."""
    found = [naive.pair_bucket(i, j, 8) for i in range(300) for j in range(i)]
    counts, expected = np.bincount(found, minlength=256), len(found) / 256
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_squared - 255) < 4 * np.sqrt(2 * 255)


def test_batch_request_and_ranking_give_one_number(tmp_path):
    """Lists, missing values and unknown ones, to the last bit."""
    contract = small_contract(fields=TAGS)
    rng = np.random.default_rng(2)
    codes = random_codes(rng, n_rows=400, n_tokens=contract.n_tokens, n_features=256)
    learner = make_learner("ftrl_pairs", 256, pair_bits=10, pair_alpha=0.1)
    learner.meet(contract)
    learner.partial_fit_codes(codes, rng.integers(0, 2, 400))
    save_model(tmp_path, learner, contract, name="m")
    model = load_model(tmp_path)
    raw = [{"site": "a", "tags": ["x", "y", "z"]}, {"tags": ["y"]}, {"site": "b", "tags": []}, {}]
    live = LiveScorer(model)
    expected = model.predict_rows(raw)
    assert [live.score(row) for row in raw] == expected.tolist()
    assert live.score_candidates({}, raw).tolist() == expected.tolist()
    assert [model.predict_row(row) for row in raw] == expected.tolist()
    parts = model.contributions_codes(codes).sum(axis=1)
    np.testing.assert_allclose(parts + model.intercept, model.logits(codes), rtol=1e-9)


def test_what_two_fields_say_together_is_learned_and_found():
    """A click where site and size match: no field alone says it, and importance names both, not the noise."""
    contract = small_contract()
    rows = learnable_rows(np.random.default_rng(3), n_rows=4000, contract=contract)
    rows.label = ((rows.codes[:, 0] + rows.codes[:, 1]) % 2).astype(np.uint8)
    learner = make_learner("ftrl_pairs", 256, pair_bits=12, pair_alpha=0.1)
    for _ in range(5):
        learner.partial_fit_codes(rows.codes, rows.label)
    assert ((learner.predict_codes(rows.codes) > 0.5) == rows.label).mean() > 0.99
    table = field_importance(freeze(learner, contract, name="m"), rows).set_index("field")
    assert (table.importance[["site", "size"]] > 20 * abs(table.importance["noise"])).all()


def test_rows_of_many_tokens_are_refused_before_the_first():
    """One line at every door: in a training, on codes, on matrices, and where a model is loaded."""
    wide = small_contract(fields={"site": {}, "tags": {"type": "list", "max_items": 210}})
    learner = make_learner("ftrl_pairs", 256, pair_bits=4)
    with pytest.raises(ConfigError, match=r"211 tokens have 22,155 pairs; at most 64") as caught:
        Training(learner, learnable_rows(np.random.default_rng(0), n_rows=9, contract=wide), None)
    assert "\n" not in str(caught.value)
    codes = np.zeros((1, MAX_TOKENS + 1), dtype=np.int32)
    with pytest.raises(ConfigError, match="65 tokens"):
        learner.partial_fit_codes(codes, [1])
    with pytest.raises(ConfigError, match="65 tokens"):
        FTRLPairs(pair_bits=4).partial_fit(np.ones((2, 65)), [0, 1])
    learner.partial_fit_codes(codes[:, :-1], [1])
    with pytest.raises(ConfigError, match="211 tokens"):
        freeze(learner, wide, name="m")


@pytest.mark.parametrize(
    "pairs", [np.zeros(3, np.float32), np.zeros((4, 2), np.float32), np.zeros(1, np.float32)]
)
def test_weights_of_pairs_of_another_shape_are_refused(pairs):
    """Kernels do not check where they read."""
    arrays = {"weights": np.zeros(256, np.float32), "pair_weights": pairs}
    with pytest.raises(ContractError, match="weights of pairs"):
        ScoringModel(arrays, 0.0, small_contract(), name="m", kind="ftrl_pairs", params={})
    with pytest.raises(InputError, match="needs the arrays weights, pair_weights"):
        ScoringModel(
            {"weights": arrays["weights"]}, 0.0, small_contract(), name="m", kind="ftrl_pairs", params={}
        )  # fmt: skip


def test_rates_are_shared_among_tokens_and_pairs():
    """Twice the tokens have half the rate, and four times the pairs a quarter of it."""
    few, many = (FTRLPairs.defaults_for(n) for n in (24, 48))
    assert few["alpha"] == pytest.approx(2 * many["alpha"], rel=0.01)
    assert few["pair_alpha"] == pytest.approx(4 * many["pair_alpha"], rel=0.05)
    assert few == pytest.approx(
        {"alpha": FTRLPairs().alpha, "pair_alpha": FTRLPairs().pair_alpha}, rel=0.1
    )


@pytest.mark.parametrize(
    "params",
    [{"pair_alpha": 0}, {"pair_l1": -1}, {"pair_bits": 26}, {"pair_bits": 2.5}, {"beta": 0, "fit_intercept": False, "pair_l2": 0}],
)  # fmt: skip
def test_parameters_out_of_range_are_named(params):
    """A knob that cannot work stops before the first row."""
    with pytest.raises(ConfigError, match=next(iter(params))):
        FTRLPairs(**params).check_params()
