"""Numbers fall into buckets that the training rows decide; a list has a token per item; live and batch agree."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction import FeatureHasher

from tasks.errors import ConfigError, InputError
from tasks.hashing.buckets import (
    bucket_column,
    bucket_text,
    learn_edges,
    log_edges,
    quantile_edges,
)
from tasks.hashing.codes import NO_TOKEN
from tasks.hashing.collisions import count_tokens
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import columns_of, encode_batch, list_columns
from tasks.hashing.features.columns import Faults
from tasks.hashing.row_encoder import RowEncoder
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.models import make_learner
from tasks.models.artifact import freeze
from tasks.models.estimators.scoring import to_csr
from tasks.schema import Schema, load_schema
from tasks.serving.live import LiveScorer

SCHEMA = Schema.from_dict(
    {
        "name": "shop",
        "label": "click",
        "missing": ["NULL"],
        "fields": {
            "os": {"missing": "none"},
            "tags": {"type": "list", "max_items": 3},
            "floor": {"type": "number"},
        },
        "crosses": [["os", "floor"]],
    }
)
CONTRACT = HashContract.from_schema(SCHEMA, bits=18, edges={"floor": [0.0, 1.0, 2.0]})
ROWS = [
    {"os": " ios", "floor": "0.50", "tags": ["a", "b", "a"]},
    {"os": "none", "floor": None},
    {"os": "b", "floor": 7, "tags": "a| b|c|d"},
    {"floor": " NULL ", "tags": [], "os": ""},
]
BATCH = pa.record_batch(
    {
        "os": pa.array(["ios", None, "b", None]).dictionary_encode(),
        "floor": pa.array([0.5, None, 7.0, None]),
        "tags": pa.array(["a\x1fb", None, "a\x1fb\x1fc\x1fd", None]).dictionary_encode(),
    }
)
TOKENS = [
    ["os=ios", "floor=1", "os*floor=ios*1", "tags=a", "tags=b"],
    ["os=", "floor=", "os*floor=*", "tags="],
    ["os=b", "floor=3", "os*floor=b*3", "tags=a", "tags=b", "tags=c"],
    ["os=", "floor=", "os*floor=*", "tags="],
]


def test_tokens_are_feature_hashers_in_batches_and_requests():
    """Words for missing, the constant and an absent field are one value; unused places of a list hold no token."""
    codes = encode_batch(BATCH, CONTRACT, faults=(faults := Faults()))
    assert (RowEncoder(CONTRACT).encode_rows(ROWS) == codes).all()
    ours, theirs = to_csr(codes, 2**18), FeatureHasher(2**18, input_type="string").transform(TOKENS)
    ours.sum_duplicates()
    assert (ours != theirs).nnz == 0
    assert (codes == NO_TOKEN).sum(axis=1).tolist() == [1, 2, 0, 2]
    assert faults.left_out == {"tags": 1}


@pytest.mark.parametrize("kind", ["sgd", "ftrl", "fm", "tasks.models.neural_net:NeuralNet"])
def test_live_scores_are_those_of_the_batch(kind):
    """For every kernel, alone and as candidates; the scorer counts what is missing and left out."""
    codes = encode_batch(BATCH, CONTRACT)
    learner = make_learner(kind, CONTRACT.n_features, random_state=0)
    for _ in range(3):
        learner.partial_fit_codes(codes, [1, 0, 1, 0])
    model = freeze(learner, CONTRACT, name="m")
    expected = model.predict_batch(BATCH)
    scorer = LiveScorer(model)
    assert [scorer.score(row) for row in ROWS] == pytest.approx(expected, abs=1e-6)
    assert scorer.n_missing == 3
    assert scorer.score_candidates({"os": "ios"}, ROWS) == pytest.approx(expected, abs=1e-6)
    assert scorer.left_out == {"tags": 2}
    assert scorer.missing_lists == {"tags": 4}


def test_a_number_that_cannot_be_read_is_refused():
    """By name."""
    with pytest.raises(InputError, match="field 'floor': 'cheap' is not a finite number"):
        RowEncoder(CONTRACT).encode_row({"floor": "cheap"})


def test_tokens_of_lists_are_counted_by_item():
    """For collisions: the missing list is one token."""
    counted = count_tokens([BATCH], CONTRACT)
    assert len(counted) == 4
    assert sorted(counted[-1][1].tolist()) == [1, 2, 2, 2]


def test_the_contract_holds_the_edges():
    """It is read back, other edges are another contract, and without them there is none."""
    assert HashContract.from_dict(CONTRACT.to_dict()) == CONTRACT
    other = HashContract.from_schema(SCHEMA, bits=18, edges={"floor": [0.0, 1.0, 3.0]})
    assert other.digest != CONTRACT.digest
    with pytest.raises(ConfigError, match="contract needs a log"):
        HashContract.from_schema(SCHEMA, bits=18)


@pytest.mark.parametrize("make", [quantile_edges, log_edges])
@pytest.mark.parametrize(
    "values",
    [
        [3.0],
        [],
        [1, 2, 2, 3],
        [-0.0, 0.0],
        [-5, 0, 5],
        [5e-324, 1.7e308],
        [1e300, -1e300],
        range(9999),
    ],
    ids=["one", "none", "integers", "zeros", "signs", "all sizes", "huge", "many"],
)
def test_every_training_value_lies_between_the_edges(make, values):
    """And what is below or above them, or missing, is apart."""
    values = np.array(values, dtype=float)
    edges = make(values, 8)
    column = bucket_column(pa.array([*values, None, float("nan"), -np.inf, np.inf]), edges)
    buckets = column.indices.tolist()
    assert all(1 <= bucket < len(edges) for bucket in buckets[: len(values)])
    assert buckets[len(values) :] == [len(edges) + 1, len(edges) + 1, 0, len(edges)]
    texts = [bucket_text(repr(value), edges) for value in values.tolist()]
    assert texts == list(map(str, buckets[: len(values)]))


def test_quantiles_hold_equal_shares_and_a_frequent_value_has_its_own():
    """Of 2,000 values, 600 of them zero."""
    draw = np.random.default_rng(0)
    values = np.append(np.zeros(600), draw.exponential(size=1400))
    edges = quantile_edges(values, 10)
    counts = np.bincount(bucket_column(pa.array(values), edges).indices)
    assert counts[1] == 600
    assert counts[2:].max() <= 201


odd_floats = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, -0.0, 1.0])


@given(st.lists(odd_floats), st.sets(st.floats(-1e308, 1e308).map(lambda x: x + 0.0), max_size=99))
def test_buckets_are_those_of_a_plain_search(values, edges):
    """Whatever lies where: subnormal numbers, both zeros, infinity, edges side by side or far apart."""
    edges = tuple(sorted(edges))
    values = np.array([*values, *edges, *np.nextafter(edges, -np.inf)], dtype=float)
    expected = np.searchsorted(edges, values, "right")
    expected[np.isnan(values)] = len(edges) + 1
    assert bucket_column(pa.array(values), edges).indices.tolist() == expected.tolist()


@given(
    st.lists(st.lists(st.text("a\0é", min_size=1, max_size=12), max_size=5) | st.none()),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_items_of_any_length_have_the_tokens_of_a_request(lists, n_most, n_more):
    """Each distinct list once, or where the dictionary is longer than the batch, those of the rows; letters of zero count."""
    schema = Schema.from_dict(
        {
            "name": "shop",
            "label": "click",
            "keep_spaces": True,
            "fields": {"tags": {"type": "list", "max_items": n_most}},
        }
    )
    contract = HashContract.from_schema(schema, bits=18)
    texts = ["\x1f".join(dict.fromkeys(items or [])) or None for items in lists]
    column = pa.array(texts + ["x"] * n_more + ["y", "z"], pa.string()).dictionary_encode()
    faults = Faults()
    codes = encode_batch(pa.record_batch({"tags": column[: len(lists)]}), contract, faults=faults)
    rows = [{"tags": items} for items in lists]
    assert (codes == RowEncoder(contract).encode_rows(rows)).all()
    left_out = sum(max(0, len(set(items or [])) - n_most) for items in lists)
    assert faults.left_out["tags"] == left_out


EXTRA = Schema.from_dict(
    load_schema("avazu").to_dict()
    | {
        "fields": load_schema("avazu").to_dict()["fields"]
        | {
            "number_1": {"type": "number"},
            "number_2": {"type": "number", "buckets": "log", "n_buckets": 8},
            "tags": {"type": "list", "separator": "|", "max_items": 4},
        }
    }
)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("numbers") / "log"
    ingest_log("sim://avazu?rows=4000&seed=7&numbers=2&lists=1", folder, schema=EXTRA)
    return Log.open(folder)


def test_edges_are_learned_on_the_rows_of_the_span_only(log):
    """Against pandas; other rows do not move them, and all training rows lie between."""
    edges = learn_edges(log, EXTRA, (500, 3000))
    frame = log.to_pandas(["number_1", "number_2"], 500, 3000)
    assert set(edges) == {"number_1", "number_2"}
    values = frame["number_1"].dropna().to_numpy()
    assert edges["number_1"] == quantile_edges(values, 32)
    assert edges["number_2"] == log_edges(frame["number_2"].dropna().to_numpy(), 8)
    contract = HashContract.from_schema(EXTRA, bits=18, edges=edges)
    assert HashContract.from_dict(contract.to_dict()) == contract
    assert learn_edges(log, EXTRA, (0, 4000)) != edges


def test_rows_of_a_log_have_the_codes_of_their_requests(log):
    """Numbers, lists and missing ones, as the log gives the rows back."""
    edges = learn_edges(log, EXTRA, (0, 3000))
    contract = HashContract.from_schema(EXTRA, bits=18, edges=edges)
    batches = log.batches(columns=columns_of(contract), start=3000, stop=3300)
    codes = np.concatenate([encode_batch(batch, contract) for batch in batches])
    rows = [log.raw_row(row, EXTRA) for row in range(3000, 3300)]
    assert (RowEncoder(contract).encode_rows(rows) == codes).all()


def test_two_million_distinct_values_have_the_quantiles_of_a_sample():
    """Memory is that of a million, whatever comes; the extremes are those of all."""
    schema = Schema.from_dict(
        {"name": "x", "label": "y", "fields": {"n": {"type": "number", "n_buckets": 10}}}
    )
    values = np.random.default_rng(0).permutation(2_000_000) / 7

    class Rows:
        def batches(self, *, columns, start, stop):
            for begin in range(start, stop, 65_536):
                piece = values[begin : min(stop, begin + 65_536)]
                yield pa.record_batch({"n": pa.array(piece)})

    edges = np.array(learn_edges(Rows(), schema, (0, len(values)))["n"])
    assert len(edges) == 11
    assert (edges[0], edges[-2:].max()) == (0.0, np.nextafter(values.max(), np.inf))
    np.testing.assert_allclose(edges[:-1] * 7, np.arange(10) * 2e5, atol=6e3)


def test_two_million_distinct_lists_cost_what_a_batch_has():
    """A dictionary longer than the batch is taken apart only where rows point to it."""
    numbers = pa.array(np.arange(2_000_000)).cast(pa.string())
    texts = pc.binary_join_element_wise(numbers, "x", numbers, "\x1f")
    rows = np.random.default_rng(0).integers(0, len(texts), 5000)
    tags = pa.DictionaryArray.from_arrays(pa.array(rows.astype(np.int32)), texts)
    (items,) = list_columns(pa.record_batch({"tags": tags}), CONTRACT)
    assert (len(items.begins), len(items.hashes)) == (5001, 15_000)
