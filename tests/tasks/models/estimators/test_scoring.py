"""Scoring a saved estimator: what it gets, what a file may name, what is too large."""

import io
import json
import zipfile
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from tasks.errors import ConfigError, InputError
from tasks.features.kinds.finding import find_feature
from tasks.features.kinds.past import Past
from tasks.hashing.buckets import middles
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import encode_batch
from tasks.hashing.row_encoder import RowEncoder
from tasks.models.artifact import ScoringModel, load_model
from tasks.models.estimators import scoring
from tasks.models.estimators.params import build
from tasks.schema import Schema
from tests.tasks.models.rows import random_codes, small_contract

CATEGORICAL = {"input": "categorical", "cardinality": 7}


def test_categories_are_indices_folded_and_signs_are_dropped():
    """The same bucket is the same category, whatever its sign."""
    codes = np.array([[0, ~0, 13], [~13, 6, 7]], dtype=np.int32)
    found = scoring.as_input(codes, CATEGORICAL, 16)
    assert found.tolist() == [[0, 0, 6], [6, 6, 0]]
    assert found.dtype == np.float32  # what LightGBM takes as it is


EDGES = {"floor": (0.0, 1.0, 2.5, 6.0), "age": ()}


def contract_of_numbers(bits=20):
    fields = {
        "floor": {"type": "number"},
        "site": {},
        "age": {"type": "number"},
        "tags": {"type": "list", "max_items": 2, "separator": ","},
    }
    schema = Schema.from_dict({"name": "n", "label": "click", "fields": fields})
    return HashContract.from_schema(schema, bits=bits, edges=EDGES)


def test_a_number_is_the_middle_of_its_bucket():
    """The edge beyond the edges, NaN where it is missing, 0 where no bucket was learned; other columns are categories."""
    contract = contract_of_numbers()
    floors = [-3.0, 0.0, 0.9, 2.0, 5.9, 99.0, None]
    table = pa.table(
        {
            "floor": pa.array(floors, pa.float64()),
            "site": ["a"] * 7,
            "age": pa.array([1.0] * 6 + [None]),
            "tags": ["x"] * 7,
        }
    )
    codes = encode_batch(table, contract)
    found = scoring.as_input(codes, CATEGORICAL, 2**20, scoring.number_columns(contract))
    expected = [*np.array(middles(EDGES["floor"]))[[0, 1, 1, 2, 3, 4]], np.nan]
    places = [contract.token_fields.index(name) for name in ("floor", "age")]
    np.testing.assert_array_equal(found[:, places[0]], np.array(expected, np.float32))
    np.testing.assert_array_equal(found[:, places[1]], [0] * 6 + [np.nan])
    plain = scoring.as_input(codes, CATEGORICAL, 2**20)
    others = [place for place in range(contract.n_tokens) if place not in places]
    np.testing.assert_array_equal(found[:, others], plain[:, others])
    rows = [{"floor": floor, "site": "a", "age": 1, "tags": "x"} for floor in floors[:6]]
    live = RowEncoder(contract).encode_rows([*rows, {"site": "a", "tags": "x"}])
    again = scoring.as_input(live, CATEGORICAL, 2**20, scoring.number_columns(contract))
    np.testing.assert_array_equal(again, found)


def contract_of_a_statistic():
    raw = {
        "name": "n",
        "label": "click",
        "time": {"column": "hour", "format": "%y%m%d%H"},
        "features": ["campaign_rate", "hour_of_day"],
        "fields": {"C17": {}, "site": {}},
    }
    past = Past({"hot": [(0, 950, 300)], "cold": [(0, 950, 0)]})
    return HashContract.from_schema(Schema.from_dict(raw), bits=20, past={"campaign_rate": past})


def test_a_statistic_of_the_past_is_a_number_in_batch_and_request():
    """The middle of its bucket, rising with the rate; features without buckets are categories as before."""
    contract = contract_of_a_statistic()
    when = datetime(2014, 10, 22, 5, tzinfo=UTC)
    values = ["cold", "new", "hot"]
    table = pa.table(
        {
            "C17": values,
            "site": ["a"] * 3,
            "hour": pa.array([when] * 3, pa.timestamp("ms", "UTC")),
        }
    )
    numbers = scoring.number_columns(contract)
    found = scoring.as_input(encode_batch(table, contract), CATEGORICAL, 2**20, numbers)
    place = contract.token_fields.index("campaign_rate")
    assert [one.place for one in numbers] == [place]
    rates = [8.5 / 1000, np.nan, 308.5 / 1000]  # with 50 average impressions before; one has no past
    edges = find_feature("campaign_rate").feature.buckets
    by_hand = [
        rate if np.isnan(rate) else middles(edges)[np.searchsorted(edges, rate, side="right")]
        for rate in rates
    ]
    np.testing.assert_array_equal(found[:, place], np.array(by_hand, np.float32))
    np.testing.assert_allclose(found[[0, 2], place], [0.02, 0.35], rtol=1e-6)
    rows = [{"C17": value, "site": "a", "hour": "14102205"} for value in values]
    live = scoring.as_input(RowEncoder(contract).encode_rows(rows), CATEGORICAL, 2**20, numbers)
    np.testing.assert_array_equal(live, found)


def test_buckets_are_values_whatever_shares_their_codes():
    """With two buckets of the hash the numbers are wrong, but there; huge edges stay finite."""
    found = scoring.number_columns(contract_of_numbers(bits=1))
    assert all(len(one.codes) == len(one.values) for one in found)
    EDGES["age"] = (-1e300, 1e300)
    values = scoring.number_columns(contract_of_numbers())[1].values
    EDGES["age"] = ()
    assert np.isfinite(values).all()


def test_the_hashed_matrix_has_an_entry_per_token():
    """Two tokens of a row in one bucket stay two."""
    matrix = scoring.as_input(np.array([[3, 3, ~1]], dtype=np.int32), {"input": "hashed"}, 8)
    assert matrix.shape == (1, 8)
    assert matrix.toarray().tolist() == [[0, -1, 0, 2, 0, 0, 0, 0]]


def test_logits_of_certain_answers_are_finite():
    """Trees answer 0 and 1."""
    assert np.isfinite(scoring.logits_of(np.array([0.0, 0.5, 1.0]))).all()
    assert scoring.logits_of(np.array([0.5])) == [0]


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.5, np.inf])
def test_what_is_no_probability_is_an_error(wrong):
    """And not an answer to a client."""
    with pytest.raises(InputError, match="where a probability is expected"):
        scoring.logits_of(np.array([0.2, wrong]))


def dumped(estimator):
    codes = random_codes(np.random.default_rng(0), n_rows=60, n_tokens=3, n_features=16)
    return skops.io.dumps(estimator.fit(scoring.to_csr(codes, 16), np.arange(60) % 2))


def test_a_file_that_names_other_classes_is_refused():
    """A function of the standard library in the place of one of scikit-learn's."""
    import os

    content = skops.io.dumps(FunctionTransformer(os.getcwd))
    with pytest.raises(InputError, match=r"getcwd, which is not trusted"):
        scoring.load_estimator(content)


def _started(place):
    return {
        "cls": "x",
        "params": {"a": {"kind": "subprocess:Popen", "params": {"args": ["touch", str(place)]}}},
    }


def test_a_function_of_this_library_is_refused_too(tmp_path):
    """`build` makes what its parameters name: within a pipeline that would be any program."""
    step = FunctionTransformer(build, kw_args=_started(tmp_path / "started"))
    content = skops.io.dumps(Pipeline([("step", step), ("model", LogisticRegression())]))
    with pytest.raises(InputError, match=r"params.build, which is not trusted"):
        scoring.load_estimator(content)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    "name",
    ["estimator.EstimatorLearner", "neural_net.NeuralNet", "sgd.SGDClassifier", "sgd.SGDLogistic.fit", "sgd.np",
     "artifact.ScoringModel", "no_such.Thing", "sgd.nothing", ".sgd.SGDLogistic"],
)  # fmt: skip
def test_of_this_library_only_estimators_are_trusted_where_they_are_defined(monkeypatch, name):
    """No function, method or module, no class that only its constructor makes harmless."""
    named = [
        f"tasks.models.{name}",
        "tasks.models.sgd.SGDLogistic",
        "tasks.models.fm.FactorizationMachine",
    ]
    monkeypatch.setattr(skops.io, "get_untrusted_types", lambda data: named)
    assert scoring.untrusted(b"") == named[:1]


def renamed(content, **changes):
    """Return a skops file with other values in the first node of its schema."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["schema.json"] = json.dumps(json.loads(files["schema.json"]) | changes).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("subprocess", "Popen"), ("sklearn.datasets._base", "urlretrieve"), ("builtins", "eval")],
)  # fmt: skip
def test_a_file_cannot_have_code_executed(module, name):
    """Whatever class it claims to be of, also one that a module of scikit-learn merely imports."""
    content = renamed(dumped(LogisticRegression()), __module__=module, __class__=name)
    with pytest.raises(InputError, match=f"{name}, which is not trusted"):
        scoring.load_estimator(content)


@pytest.mark.parametrize("content", [b"", b"\x80\x04N.", b"PK\x03\x04"])
def test_what_is_no_archive_is_refused(content):
    """A pickle, above all."""
    with pytest.raises(InputError, match="no readable estimator"):
        scoring.load_estimator(content)


def test_a_file_that_unpacks_to_too_much_is_refused(monkeypatch):
    """Its sizes are read before anything is unpacked."""
    content = dumped(LogisticRegression())
    monkeypatch.setattr(scoring, "MAX_BYTES", 100)
    with pytest.raises(InputError, match="unpacks to"):
        scoring.load_estimator(content)


def test_a_large_file_is_not_read(tmp_path, monkeypatch):
    """Its size is looked at first."""
    record = {
        "format": 1, "name": "m", "kind": "x:Y", "version": "0", "intercept": 0.0, "params": {}, "info": {},
        "arrays": {"lightgbm.txt": {}}, "contract": small_contract().to_dict(),
    }  # fmt: skip
    (tmp_path / "model.json").write_text(json.dumps(record))
    (tmp_path / "lightgbm.txt").write_text("x" * 200)
    monkeypatch.setattr("tasks.models.golden.MAX_BYTES", 100)
    with pytest.raises(InputError, match="larger than"):
        load_model(tmp_path)


def test_a_text_that_is_no_model_of_lightgbms_is_refused():
    """It is one line, and no crash."""
    for text in (b"", b"tree\n", b"\xff\xfe"):
        with pytest.raises(InputError, match="no readable LightGBM model"):
            scoring.predictor({"lightgbm.txt": text}, CATEGORICAL, 16)


def test_a_package_that_is_not_there_is_named(monkeypatch):
    """A service that was packed with another kind of model says what it lacks."""
    monkeypatch.setitem(__import__("sys").modules, "lightgbm", None)
    with pytest.raises(ConfigError, match="needs lightgbm, which is not installed"):
        scoring.predictor({"lightgbm.txt": b"tree"}, CATEGORICAL, 16)


def test_a_model_of_two_files_is_none():
    """An estimator is one file."""
    parts = {"lightgbm.txt": b"", "estimator.skops": b""}
    with pytest.raises(InputError, match="an estimator is one file"):
        ScoringModel(parts, 0.0, small_contract(), name="m", kind="x:Y", params=CATEGORICAL)
