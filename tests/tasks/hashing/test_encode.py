"""Batch, row, scikit-learn's FeatureHasher and a naive twin give the same codes."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction import FeatureHasher

from tasks.errors import ConfigError, InputError
from tasks.hashing import murmur
from tasks.hashing.codes import split_codes
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import encode_batch
from tasks.hashing.row_encoder import RowEncoder
from tasks.logs.value_text import value_text
from tasks.schema import Schema, load_schema
from tests import naive

BITS = 18
RAW = {
    "keep_spaces": True,
    "name": "tiny",
    "label": "click",
    "time": {"column": "when", "format": "iso"},
    "features": ["hour_of_day", "weekday"],
    "fields": {"site": {"spelling": "exact"}, "größe": {"spelling": "exact"}, "n": {}, "x": {}},
    "crosses": [["site", "n"], ["site", "größe", "hour_of_day"]],
}
CONTRACT = HashContract.from_schema(Schema.from_dict(RAW), bits=BITS)
PLAIN = HashContract.from_schema(
    Schema.from_dict(
        RAW | {"fields": {"site": {"spelling": "exact"}}, "crosses": [], "features": []}
    ),
    bits=BITS,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.none()
moments = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)) | st.none()
rows_of = st.lists(
    st.fixed_dictionaries(
        {
            "site": texts,
            "größe": texts,
            "n": st.integers(-(2**63), 2**63 - 1) | st.none(),
            "x": st.floats(allow_subnormal=False) | st.none(),
            "when": moments,
        }
    ),
    max_size=30,
)
TYPES = {
    "site": pa.string(),
    "größe": pa.string(),
    "n": pa.int64(),
    "x": pa.float64(),
    "when": pa.timestamp("us"),
}


def as_batch(rows, *, coded=False):
    columns = {name: pa.array([row[name] for row in rows], kind) for name, kind in TYPES.items()}
    if coded:
        columns = {
            name: col if name == "when" else col.dictionary_encode()
            for name, col in columns.items()
        }
    return pa.record_batch(columns)


def expected_tokens(row):
    values = {name: value_text(row[name]) for name in RAW["fields"]}
    when = row["when"]
    values["hour_of_day"] = "" if when is None else str(when.hour)
    values["weekday"] = "" if when is None else str(when.weekday())
    return naive.row_tokens(values, RAW["crosses"])


def site_codes(column):
    """Return the codes of a one-field batch."""
    batch = pa.table({"site": column})
    return encode_batch(batch, PLAIN)[:, 0].tolist()


@given(rows=rows_of)
@settings(max_examples=60, deadline=None)
def test_batch_row_and_feature_hasher_agree(rows):
    """For any text, number, time or missing value, on plain and on dictionary columns."""
    codes = encode_batch(as_batch(rows), CONTRACT)
    assert codes.shape == (len(rows), CONTRACT.n_tokens)
    assert (encode_batch(as_batch(rows, coded=True), CONTRACT) == codes).all()
    assert (RowEncoder(CONTRACT).encode_rows(rows) == codes).all()
    if rows:
        hasher = FeatureHasher(2**BITS, input_type="string")
        dense = hasher.transform([expected_tokens(row) for row in rows])
        index, sign = split_codes(codes)
        ours = np.zeros(2**BITS)
        np.add.at(ours, index.ravel(), sign.ravel())
        assert (ours == np.asarray(dense.sum(axis=0)).ravel()).all()
        assert (np.asarray(dense[0].sum()) == sign[0].sum()).all()


@given(rows=rows_of.filter(bool))
@settings(max_examples=30, deadline=None)
def test_every_code_is_the_naive_one(rows):
    """Token by token, against murmur3 written line by line in Python."""
    codes = encode_batch(as_batch(rows), CONTRACT)
    expected = [[naive.token_code(token, BITS) for token in expected_tokens(row)] for row in rows]
    assert codes.tolist() == expected


@pytest.mark.parametrize(
    ("data", "seed", "expected"),
    [
        (b"", 0, 0),
        (b"", 1, 0x514E28B7),
        (b"aaaa", 0x9747B28C, 0x5A97808A),
        (b"Hello, world!", 0x9747B28C, 0x24884CBA),
    ],
)
def test_the_naive_twin_gives_the_published_values(data, seed, expected):
    """Test vectors of MurmurHash3_x86_32."""
    assert naive.murmur3(data, seed) & 0xFFFFFFFF == expected


@given(
    name=st.text("abcd", min_size=1, max_size=9),
    value=st.binary(max_size=20),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=80, deadline=None)
def test_the_kernel_carries_any_prefix_into_any_value(name, value, seed):
    """All lengths of prefix and value modulo 4, any bytes, any seed."""
    out = np.empty(2, dtype=np.int32)
    data = np.frombuffer(value, dtype=np.uint8)
    offsets = np.array([0, len(value)], dtype=np.int32)
    offsets.flags.writeable = False
    murmur.hash_texts(*murmur.prefix_of(name, seed=seed), offsets, data, out)
    assert out.tolist() == [
        naive.murmur3(f"{name}=".encode() + value, seed),
        naive.murmur3(f"{name}=".encode(), seed),
    ]


def test_the_smallest_hash_folds_as_scikit_learn_does():
    """abs(-2**31) does not fit an int32; its bucket is 0."""
    hashes = np.array([-(2**31), 2**31 - 1, -1, 0], dtype=np.int32)
    murmur.fold_hashes(hashes, 20)
    assert hashes.tolist() == [~0, 2**20 - 1, ~1, 0]


def test_another_seed_gives_other_codes():
    """The contract's seed reaches the kernel, in batch and row alike."""
    contract = HashContract.from_schema(Schema.from_dict(PLAIN.schema), bits=BITS, seed=7)
    codes = encode_batch(pa.record_batch({"site": ["a"]}), contract)
    assert codes.tolist() == [[naive.token_code("site=a", BITS, seed=7)]]
    assert RowEncoder(contract).encode_row({"site": "a"}).tolist() == codes[0].tolist()


VALUES = ["b", None, "", "a", "ü" * 50, "b", "a\0b", "c"]
EXPECTED = [naive.token_code(f"site={value or ''}", BITS) for value in VALUES]


@pytest.mark.parametrize(
    ("kind", "index"),
    [
        *[(kind, None) for kind in (pa.string(), pa.large_string(), pa.string_view())],
        *[
            (pa.string(), index)
            for index in (pa.int8(), pa.uint8(), pa.int16(), pa.uint32(), pa.int64(), pa.uint64())
        ],
        (pa.large_string(), pa.int32()),
    ],
    ids=str,
)
def test_every_layout_of_text_gives_the_same_codes(kind, index):
    """Plain, large, view and dictionary text, whole, sliced and empty."""
    column = pa.array(VALUES, pa.string()).cast(kind)
    if index is not None:
        coded = column.dictionary_encode()
        column = pa.DictionaryArray.from_arrays(coded.indices.cast(index), coded.dictionary)
    assert site_codes(column) == EXPECTED
    assert site_codes(column.slice(2, 4)) == EXPECTED[2:6]
    assert site_codes(column.slice(3, 0)) == []


def test_nulls_hide_what_lies_beneath_them():
    """A null index may hold any number, a null value any bytes; both are a missing value."""
    indices = pa.Array.from_buffers(
        pa.int32(),
        3,
        [pa.py_buffer(bytes([0b101])), pa.py_buffer(np.array([0, 99999, 1], dtype=np.int32))],
    )
    words = pa.Array.from_buffers(
        pa.string(),
        2,
        [
            pa.py_buffer(bytes([0b01])),
            pa.py_buffer(np.array([0, 1, 5], dtype=np.int32)),
            pa.py_buffer(b"ahide"),
        ],
    )
    assert site_codes(pa.DictionaryArray.from_arrays(indices, words)) == [
        naive.token_code(token, BITS) for token in ("site=a", "site=", "site=")
    ]


def test_a_sliced_dictionary_and_chunks_with_dictionaries_of_their_own():
    """Offsets of the dictionary count, and each chunk brings its own."""
    words = pa.array(["zz", "b", "a", "c"]).slice(1)
    first = pa.DictionaryArray.from_arrays(pa.array([1, 0, None], pa.int32()), words)
    second = pa.array(["c", "b"]).dictionary_encode()
    expected = [naive.token_code(f"site={value}", BITS) for value in ("a", "b", "", "c", "b")]
    assert site_codes(pa.chunked_array([first, second])) == expected


def test_few_rows_of_a_large_dictionary_hash_only_their_own():
    """A dictionary far longer than the batch takes another path to the same codes."""
    coded = pa.array([str(i) for i in range(1000)] + [None]).dictionary_encode().slice(990)
    expected = [naive.token_code(f"site={i}", BITS) for i in range(990, 1000)] + [
        naive.token_code("site=", BITS)
    ]
    assert site_codes(coded) == expected


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1005, -1, None, 0]),
        pa.array([1005, -1, None, 0], pa.int16()),
        pa.array([1005.0, -1.0, float("nan"), -0.0]),
        pa.array([1005.0, -1.0, None, 0.0], pa.float32()),
        pa.array(["1005", "-1", None, "0"]),
        pa.array([1005, -1, None, 0]).dictionary_encode(),
    ],
    ids=str,
)
def test_a_number_hashes_as_its_digits(column):
    """Integers, integral floats and their text are one token; NaN is missing."""
    assert site_codes(column) == [
        naive.token_code(f"site={text}", BITS) for text in ("1005", "-1", "", "0")
    ]


def test_a_float32_column_meets_the_request_that_sends_its_decimal():
    """0.1 stored in single precision is the token of 0.1."""
    row = RowEncoder(PLAIN).encode_row({"site": 0.1}).tolist()
    assert site_codes(pa.array([0.1], pa.float32())) == row == site_codes(pa.array([0.1]))
    assert RowEncoder(PLAIN).encode_row({"site": np.float32(0.1)}).tolist() == row


def test_booleans_and_all_null_columns_have_tokens():
    """A flag is true or false, a column of the null type is missing throughout."""
    assert (
        site_codes(pa.array([True, None]))
        == RowEncoder(PLAIN).encode_rows([{"site": True}, {}])[:, 0].tolist()
    )
    assert site_codes(pa.nulls(2)) == [naive.token_code("site=", BITS)] * 2


def test_a_megabyte_is_a_value():
    """Long values work in batch and row."""
    value = "ab\0ü" * 200_000
    assert site_codes(pa.array([value])) == RowEncoder(PLAIN).encode_row({"site": value}).tolist()


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.int8()), pa.date32(), pa.binary(), pa.dictionary(pa.int32(), pa.binary())]
)
def test_a_type_without_tokens_is_named(kind):
    """Lists, dates and bytes have no canonical text."""
    with pytest.raises(InputError, match="field 'site' has the Arrow type"):
        site_codes(pa.nulls(1, kind))


def test_a_missing_or_doubled_column_is_named():
    """A batch must hold each column once."""
    with pytest.raises(InputError, match="'site' is missing from the batch"):
        encode_batch(pa.record_batch({"other": ["a"]}), PLAIN)
    double = pa.RecordBatch.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["site", "site"])
    with pytest.raises(InputError, match="'site' occurs twice"):
        encode_batch(double, PLAIN)


def test_out_is_written_in_place_and_checked():
    """Codes go straight into the caller's array, if it fits."""
    batch = pa.record_batch({"site": ["a", "b"]})
    out = np.empty((2, 1), dtype=np.int32)
    assert encode_batch(batch, PLAIN, out=out) is out
    assert (out == encode_batch(batch, PLAIN)).all()
    with pytest.raises(ConfigError, match="C-contiguous"):
        encode_batch(batch, PLAIN, out=np.empty((2, 1), dtype=np.int64))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_time_features_are_utc_in_any_unit(unit, zone):
    """A zone changes how a moment is shown, not the moment; before 1970 counts too."""
    known = [datetime(2014, 10, 21, 23, 59, tzinfo=UTC), datetime(1969, 12, 31, 23, 0, tzinfo=UTC)]
    column = pa.array([*known, None], pa.timestamp(unit, tz="UTC")).cast(
        pa.timestamp(unit, tz=zone)
    )
    rows = [{"when": moment} for moment in [*known, None]]
    codes = RowEncoder(CONTRACT).encode_rows(rows)
    nothing = {name: pa.nulls(3) for name in CONTRACT.fields}
    assert (encode_batch(pa.record_batch(nothing | {"when": column}), CONTRACT) == codes).all()
    texts = [("23", "1"), ("23", "2"), ("", "")]
    tokens = [(f"hour_of_day={hour}", f"weekday={day}") for hour, day in texts]
    assert codes[:, 4:6].tolist() == [
        [naive.token_code(token, BITS) for token in pair] for pair in tokens
    ]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["14102113", None]),
        pa.array([14102113, None]),
        pa.array(["14102113", None]).dictionary_encode(),
    ],
)
def test_unparsed_time_columns_follow_the_declared_format(column):
    """Text and integers, as a raw log or a request brings them."""
    contract = HashContract.from_schema(load_schema("avazu"), bits=BITS)
    batch = pa.record_batch({name: pa.nulls(2) for name in contract.fields} | {"hour": column})
    expected = [naive.token_code(token, BITS) for token in ("hour_of_day=13", "hour_of_day=")]
    at = contract.token_fields.index("hour_of_day")
    assert encode_batch(batch, contract)[:, at].tolist() == expected
    encoder = RowEncoder(contract)
    rows = [
        {"hour": "14102113"},
        {"hour": 14102113},
        {"hour": datetime(2014, 10, 21, 15, tzinfo=timezone(timedelta(hours=2)))},
    ]
    assert {int(encoder.encode_row(row)[at]) for row in rows} == {expected[0]}


@pytest.mark.parametrize("value", ["noon", "", 3.5, [1], "99999999"])
def test_a_time_that_cannot_be_read_is_named(value):
    """The message names column, value and format; batch and row agree that it is wrong."""
    contract = HashContract.from_schema(load_schema("avazu"), bits=BITS)
    with pytest.raises(InputError, match=r"field 'hour': .* is not a time"):
        RowEncoder(contract).encode_row({"hour": value})
    batch = pa.record_batch(
        {name: pa.nulls(1) for name in contract.fields} | {"hour": pa.array([str(value)])}
    )
    with pytest.raises(InputError, match=r"field 'hour': .* is not a time"):
        encode_batch(batch, contract)


def test_large_batches_cross_the_block_border(monkeypatch):
    """Rows beyond a block of the gather land where they belong."""
    values = [str(i % 700) for i in range(2000)]
    monkeypatch.setattr(murmur, "GATHER_ROWS", 97)
    batch = pa.record_batch({"site": pa.array(values).dictionary_encode()})
    assert encode_batch(batch, PLAIN)[:, 0].tolist() == [
        naive.token_code(f"site={value}", BITS) for value in values
    ]


def test_the_real_log_agrees_with_feature_hasher(real_log):
    """Ten thousand real rows, every token of every row."""
    from pyarrow import csv

    schema = load_schema("avazu")
    contract = HashContract.from_schema(schema, bits=20)
    options = csv.ConvertOptions(
        column_types={name: pa.string() for name in (*schema.field_names, "hour")}
    )
    table = csv.read_csv(real_log, convert_options=options)
    rows = table.to_pylist()
    for row in rows:
        row.update({spec.name: "" for spec in schema.fields if row[spec.name] == spec.missing})
    codes = encode_batch(pa.Table.from_pylist(rows, table.schema), contract)
    assert (RowEncoder(contract).encode_rows(table.to_pylist()) == codes).all()
    tokens = [
        [f"{name}={row[name]}" for name in schema.field_names]
        + ["hour_of_day=0"]
        + [
            f"{'*'.join(cross)}={'*'.join(str(row[name]) for name in cross)}"
            for cross in contract.crosses
        ]
        for row in rows
    ]
    oracle = FeatureHasher(2**20, input_type="string").transform(tokens)
    index, sign = split_codes(codes)
    for row in range(0, len(rows), 97):
        dense = np.zeros(2**20)
        np.add.at(dense, index[row], sign[row])
        assert (dense == oracle[row].toarray().ravel()).all()
