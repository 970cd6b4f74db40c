"""Estimators as learners: fitted when a pass ends, saved without pickle, scored with what was saved."""

import logging
import sys

import numpy as np
import pyarrow as pa
import pytest
from lightgbm import LGBMClassifier
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

import tasks.models
from tasks.errors import ConfigError, DegenerateError
from tasks.evaluation.metrics import log_loss
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import encode_batch
from tasks.models import make_learner
from tasks.models.artifact import freeze, load_model, save_model
from tasks.models.estimators.scoring import to_csr
from tasks.schema import Schema
from tasks.serving.live import LiveScorer
from tasks.training.epochs import Training
from tasks.training.fit import fit_stream, validate
from tasks.training.search import search
from tests.tasks.models.checks import check_estimator
from tests.tasks.models.rows import MemoryRows, fit_anew, learnable_rows, small_contract

LOGISTIC = "sklearn.linear_model:LogisticRegression"
STEPS = [
    ["scale", {"kind": "sklearn.preprocessing:MaxAbsScaler"}],
    ["model", {"kind": LOGISTIC, "params": {"C": 0.5}}],
]
BLOCKS = {
    "lightgbm": {
        "kind": "lightgbm:LGBMClassifier",
        "params": {"n_estimators": 15, "min_child_samples": 5, "n_jobs": 1},
        "input": "categorical",
        "cardinality": 64,
    },
    "logistic": {"kind": LOGISTIC, "params": {"C": 0.3}, "input": "hashed"},
    "pipeline": {
        "kind": "sklearn.pipeline:Pipeline",
        "params": {"steps": STEPS, "model__max_iter": 200},
        "input": "hashed",
    },
    "forest": {
        "kind": "sklearn.ensemble:RandomForestClassifier",
        "params": {"n_estimators": 8, "max_depth": 6, "n_jobs": 1},
        "input": "categorical",
    },
}


def rows_of(seed=0, n_rows=1500):
    return learnable_rows(
        np.random.default_rng(seed), n_rows=n_rows, contract=small_contract(), batch_rows=400
    )


def fitted(name, **changes):
    block = BLOCKS[name] | changes
    learner = make_learner(block, 256, random_state=3, **block["params"])
    fit_stream(learner, rows_of(), rows_of(1))
    return learner


@pytest.fixture(scope="module")
def learners():
    return {name: fitted(name) for name in BLOCKS}


any_block = pytest.mark.parametrize("name", BLOCKS)


@any_block
def test_it_learns_what_can_be_learned(learners, name):
    """Better than the click rate on rows it has not seen."""
    unseen = rows_of(9)
    rate = unseen.label.mean()
    alone = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    loss, auc = validate(learners[name], unseen)
    assert loss < alone - 0.01
    assert auc > 0.65
    assert learners[name].loss_ == pytest.approx(
        log_loss(rows_of().label, learners[name].predict_codes(rows_of().codes))
    )


@any_block
def test_what_is_saved_is_what_was_fitted(learners, name, tmp_path):
    """Equal bytes from an equal training; one row, a batch and a live request are one number; no pickle."""
    model = save_model(tmp_path / "a", learners[name], small_contract(), name=name)
    again = save_model(tmp_path / "b", fitted(name), small_contract(), name="other")
    assert model.version == again.version
    (path,) = (file for file in (tmp_path / "a").iterdir() if file.name != "model.json")
    assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    assert path.name == ("lightgbm.txt" if name == "lightgbm" else "estimator.skops")
    loaded, rows = load_model(tmp_path / "a"), rows_of(2)
    expected = learners[name].predict_codes(rows.codes)
    np.testing.assert_allclose(loaded.predict_codes(rows.codes), expected, atol=1e-6)
    live, raw = LiveScorer(loaded), [{"site": "a"}, {"size": 3, "noise": "x"}, {}]
    np.testing.assert_allclose([live.score(row) for row in raw], loaded.predict_rows(raw))
    np.testing.assert_allclose(live.score_candidates({}, raw), loaded.predict_rows(raw))
    assert live.unseen.tolist() == [0, 0, 0]


@any_block
def test_the_checks_of_every_estimator_hold(name):
    """What a class in `tasks/models` has to pass too."""
    block = BLOCKS[name]
    check_estimator(block["kind"], input=block["input"], **block["params"])


OWN = '''"""Click rates of categories."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin


class Rates(ClassifierMixin, BaseEstimator):
    def __init__(self, prior=5.0):
        self.prior = prior

    def fit(self, X, y):
        self.classes_, X = np.unique(y), X.astype(int)
        counts = np.full((2, X.shape[1], 64), self.prior)
        for label in (0, 1):
            for column, values in enumerate(X[y == label].T):
                np.add.at(counts[label, column], values, 1)
        self.log_odds_ = np.log(counts[1] / counts[0])
        return self

    def predict_proba(self, X):
        odds = np.exp(self.log_odds_[np.arange(X.shape[1]), X.astype(int)].mean(axis=1))
        return np.column_stack([1 / (1 + odds), odds / (1 + odds)])
'''


@pytest.fixture
def own_estimator(tmp_path, monkeypatch):
    """Return a function that adds a module to `tasks.models` until the test ends, and returns its class's path."""
    monkeypatch.setattr(tasks.models, "__path__", [*tasks.models.__path__, str(tmp_path)])

    def add(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        return f"tasks.models.{name}:Rates"

    yield add
    for name in [path.stem for path in tmp_path.glob("*.py")]:
        sys.modules.pop(f"tasks.models.{name}", None)
        vars(tasks.models).pop(name, None)


def test_an_own_estimator_passes_the_checks(own_estimator):
    """A class in `tasks/models` that derives from scikit-learn's, saved and served by its name."""
    check_estimator(own_estimator("own_rates", OWN), input="categorical", prior=2.0)


def test_the_checks_find_answers_that_depend_on_the_other_rows(own_estimator):
    """They would differ between evaluation and service."""
    spoilt = OWN.replace(".mean(axis=1))", ".mean(axis=1)) * (1.01 if len(X) > 1 else 1)")
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_estimator(own_estimator("spoilt_rates", spoilt), input="categorical")


def test_the_matrix_is_that_of_the_estimator_by_hand(learners):
    """The same numbers as scikit-learn's and LightGBM's own classes on the same input."""
    rows, unseen = rows_of(), rows_of(4).codes
    own = LogisticRegression(C=0.3, random_state=3).fit(to_csr(rows.codes, 256), rows.label)
    np.testing.assert_allclose(
        learners["logistic"].predict_codes(unseen),
        own.predict_proba(to_csr(unseen, 256))[:, 1],
        rtol=1e-9,
    )
    booster = LGBMClassifier(
        n_estimators=15, min_child_samples=5, n_jobs=1, random_state=3, verbose=-1,
        deterministic=True, force_row_wise=True,
    )  # fmt: skip
    booster.fit(rows.codes % 64, rows.label, categorical_feature=[0, 1, 2])
    np.testing.assert_allclose(
        learners["lightgbm"].predict_codes(unseen),
        booster.predict_proba(unseen % 64)[:, 1],
        rtol=1e-9,
    )


def test_only_the_last_rows_are_kept_and_that_is_said(caplog):
    """Memory is bounded whatever the log's length; one line says how many rows were left out."""
    block = BLOCKS["logistic"] | {"max_rows": 500}
    learner = make_learner(block, 256, **block["params"])
    with caplog.at_level(logging.WARNING):
        fit_stream(learner, rows_of(), rows_of(1))
    assert "learns from the last 500 of 1,500 rows" in caplog.text
    rows = rows_of()
    own = LogisticRegression(C=0.3).fit(to_csr(rows.codes[-500:], 256), rows.label[-500:])
    np.testing.assert_allclose(
        learner.predict_codes(rows.codes), own.predict_proba(to_csr(rows.codes, 256))[:, 1]
    )


def test_the_newest_rows_are_learned_together_with_the_others():
    """After validation it is fitted again: training rows and validation rows."""
    block = BLOCKS["logistic"]
    given = make_learner(block, 256, random_state=3, **block["params"])
    _, learner = fit_anew(given, rows_of(), rows_of(1), max_epochs=1)
    codes = np.concatenate([rows_of().codes, rows_of(1).codes])
    label = np.concatenate([rows_of().label, rows_of(1).label])
    own = LogisticRegression(C=0.3, random_state=3).fit(to_csr(codes, 256), label)
    np.testing.assert_allclose(
        learner.predict_codes(codes), own.predict_proba(to_csr(codes, 256))[:, 1], rtol=1e-6
    )


def test_one_pass_is_enough_and_a_cluster_is_refused(tmp_path):
    """There is nothing to repeat; no checkpoint is written; several machines cannot share the work."""
    block = BLOCKS["logistic"]
    learner = make_learner(block, 256, **block["params"])
    checkpoint = tmp_path / "c.npz"
    history = fit_stream(learner, rows_of(), rows_of(1), max_epochs=8, checkpoint=checkpoint)
    assert (len(history.epochs), checkpoint.exists()) == (1, False)
    with pytest.raises(ConfigError, match="engine: local"):
        Training(learner, rows_of(), rows_of(1), engine="dask")


def test_rows_left_out_are_corrected():
    """The click rate of the prediction is that of all rows, not of the sample."""
    block = BLOCKS["logistic"]
    learner = make_learner(block, 256, **block["params"])
    fit_stream(learner, rows_of(n_rows=6000), rows_of(1), negative_rate=0.3)
    rate = rows_of(1, n_rows=6000).label.mean()
    assert learner.predict_codes(rows_of(1, n_rows=6000).codes).mean() == pytest.approx(
        rate, rel=0.1
    )
    saved = freeze(learner, small_contract(), name="m")
    assert saved.intercept == pytest.approx(np.log(0.3))


def test_a_search_declares_its_space_in_the_block():
    """An estimator has no space of its own; Optuna's trials use the one in env.yaml."""
    space = {"C": {"low": 0.01, "high": 10.0, "log": True}}
    block = BLOCKS["logistic"] | {"search": {"method": "optuna", "n_trials": 3, "space": space}}
    found = search(block | {"params": {}}, rows_of(), rows_of(1), seed=1)
    assert len(found.trials) == 3
    assert 0.01 <= found.params["C"] <= 10
    assert found.records[0]["params"] == {"C": 1.0}


def test_the_seed_reaches_every_random_state_that_is_open():
    """One in a Pipeline too; one that is given stays."""
    block = BLOCKS["pipeline"]
    learner = make_learner(block, 256, random_state=5, **block["params"])
    assert learner.estimator.get_params()["model__random_state"] == 5
    block = BLOCKS["forest"]
    learner = make_learner(block, 256, random_state=5, **block["params"])
    assert learner.estimator.random_state == 5


class Broken(LogisticRegression):
    """Multiplies its probabilities by `answer`."""

    answer = np.nan

    def predict_proba(self, X):
        return super().predict_proba(X) * self.answer


class Raising(LogisticRegression):
    """Cannot be fitted."""

    def fit(self, X, y, sample_weight=None):
        raise RuntimeError("no\nway")


class Nameless(ClassifierMixin, BaseEstimator):
    """Does not say which column is which label."""

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        return np.full((X.shape[0], 2), 0.5)


class Holding(LogisticRegression):
    """Keeps what no file without pickle can hold."""

    def fit(self, X, y, sample_weight=None):
        self.secret_ = lambda x: x
        return super().fit(X, y)


HERE = __name__


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (f"{HERE}:Broken", "answers nan where a probability is expected"),
        (f"{HERE}:Raising", "RuntimeError: no way"),
        (f"{HERE}:Nameless", "has no attribute 'classes_'"),
        (f"{HERE}:Holding", "cannot be saved without pickle"),
        ("sklearn.svm:LinearSVC", "has no predict_proba"),
        ("lightgbm:LGBMRegressor", "has no predict_proba"),
        ("sklearn.ensemble:HistGradientBoostingClassifier", "functools.partial, which no service"),
        ("collections:OrderedDict", "no get_params"),
    ],
)
def test_what_cannot_serve_is_one_line_before_work_is_spent(kind, message, capfd):
    """Without probabilities, with answers that are none, only picklable, or not an estimator at all."""
    with pytest.raises(ConfigError, match=message) as refused:
        make_learner({"kind": kind, "input": "categorical"}, 64).probe()
    assert "\n" not in str(refused.value)
    assert capfd.readouterr().err == ""


def test_rows_of_one_label_are_refused():
    """There is nothing to distinguish."""
    block = BLOCKS["logistic"]
    learner = make_learner(block, 256, **block["params"])
    learner.partial_fit_codes(rows_of().codes, np.zeros(1500))
    with pytest.raises(DegenerateError, match="all of the last 1,500 rows have the label 0"):
        learner.end_pass()


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"kind": LOGISTIC}, "input must be hashed or categorical"),
        ({"kind": "ftrl", "input": "hashed"}, "learns row by row and has no 'input'"),
        ({"kind": LOGISTIC, "input": "dense"}, "found 'dense'"),
    ],
)
def test_how_it_gets_its_rows_is_declared(block, message):
    """By an estimator, and by no other."""
    with pytest.raises(ConfigError, match=message):
        make_learner(block, 16)


def weighted_rows():
    """Return rows with weights 1 to 3, and the same rows as often as they weigh."""
    rows, contract = rows_of(n_rows=600), small_contract(weight="n")
    weight = np.random.default_rng(3).integers(1, 4, 600)
    copies = np.repeat(np.arange(600), weight)
    weighted = MemoryRows(rows.codes, rows.label, contract, weight=weight.astype(float))
    return weighted, MemoryRows(rows.codes[copies], rows.label[copies], small_contract())


@pytest.mark.parametrize(
    "block",
    [
        {"kind": LOGISTIC, "input": "hashed", "params": {"tol": 1e-10, "max_iter": 2000}},
        {
            "kind": "sklearn.tree:DecisionTreeClassifier",
            "input": "categorical",
            "params": {"max_depth": 5},
        },
        {
            "kind": "sklearn.pipeline:Pipeline",
            "input": "hashed",
            "params": {"steps": STEPS, "model__tol": 1e-10, "model__max_iter": 2000},
        },
    ],
    ids=["logistic", "tree", "pipeline"],
)
def test_a_row_of_weight_2_is_the_row_twice(block):
    """Exactly, where the estimator's loss is a sum over rows: by repetition, and by scikit-learn called directly."""
    weighted, repeated = weighted_rows()
    found = []
    for rows in (weighted, repeated):
        learner = make_learner(block, 256, random_state=3, **block["params"])
        fit_stream(learner, rows, weighted)
        found.append((learner.decision_codes(weighted.codes), learner.loss_))
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-4)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-5)
    if block["kind"] == LOGISTIC:
        alone = LogisticRegression(**block["params"])
        X = to_csr(weighted.codes, 256)
        alone.fit(X, weighted.label, sample_weight=weighted.weight)
        np.testing.assert_allclose(found[0][0], alone.decision_function(X), atol=1e-6)


def test_weights_stay_with_the_last_rows():
    """Batches without weights between those that have them are rows of weight 1."""
    learner = make_learner(BLOCKS["logistic"] | {"max_rows": 5}, 256)
    given = []
    learner._fit = lambda codes, labels, weights: given.append(weights)
    learner.log_loss = lambda *rows: 0.0
    codes = np.zeros((4, 3), dtype=np.int32)
    learner.partial_fit_codes(codes, [1, 0, 1, 0], [9, 9, 9, 9])
    learner.partial_fit_codes(codes[:2], [1, 0])
    learner.partial_fit_codes(codes[:2], [1, 0], [2, 3])
    learner.end_pass()
    assert given[0].tolist() == [9, 1, 1, 2, 3]


class Weightless(LogisticRegression):
    """Says that it takes weights, and does not."""

    def fit(self, X, y, sample_weight=None):
        if sample_weight is not None:
            raise ValueError("no weights here")
        return super().fit(X, y)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("sklearn.neighbors:KNeighborsClassifier", "takes no weights of rows"),
        (f"{HERE}:Weightless", "no weights here"),
    ],
)
def test_an_estimator_without_weights_is_refused_on_a_log_with_them(kind, message):
    """Before the first row, in a line; other logs take it."""
    with pytest.raises(ConfigError, match=message) as refused:
        make_learner({"kind": kind, "input": "hashed"}, 64).probe(weighted=True)
    assert "\n" not in str(refused.value)


def test_numbers_are_no_categories():
    """LightGBM is told so, and splits at their values."""
    fields = {"site": {}, "floor": {"type": "number"}}
    schema = Schema.from_dict({"name": "n", "label": "click", "fields": fields})
    edges = {"floor": tuple(np.linspace(0, 1, 33))}
    contract = HashContract.from_schema(schema, bits=12, edges=edges)
    draw = np.random.default_rng(0)
    floors = draw.random(3000)
    table = pa.table({"site": pa.array(draw.integers(0, 5, 3000)), "floor": floors})
    label = (draw.random(3000) < np.where(floors > 0.6, 0.6, 0.1)).astype(np.uint8)
    rows = MemoryRows(encode_batch(table, contract), label, contract)
    learner = make_learner(BLOCKS["lightgbm"], contract.n_features, **BLOCKS["lightgbm"]["params"])
    fit_stream(learner, rows, rows)
    text = learner.parts_["lightgbm.txt"].decode()
    assert "feature_infos=" in text and "[0.015" in text.split("feature_infos=")[1].split("\n")[0]
    model = freeze(learner, contract, name="m")
    live = LiveScorer(model)
    low, high = (live.score({"site": 1, "floor": floor}) for floor in (0.3, 0.9))
    assert low < 0.25 < 0.45 < high
    missing = live.score({"site": 1})
    expected = model.predict_batch(pa.table({"site": ["1"] * 3, "floor": [0.3, 0.9, None]}))
    np.testing.assert_allclose([low, high, missing], expected, rtol=1e-9)
