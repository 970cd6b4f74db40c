"""Whole columns get what single rows get, one call per distinct combination; failures are counted by row."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import ConfigError
from tasks.features import feature
from tasks.features.kinds.declaration import declared
from tasks.features.kinds.finding import try_feature
from tasks.hashing.columns import read_column, rows_of, text_list
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import encode_batch, single_columns
from tasks.hashing.features.columns import Faults, derive, with_features
from tasks.hashing.features.rows import FeatureMemory
from tasks.schema import Schema
from tests import naive
from tests.impressions import CONTRACT, FEATURES, single_texts

texts = st.sampled_from(["0", "1", "true", "", "ü*=", "ab", None])
moments = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)) | st.none()
several = st.lists(
    st.fixed_dictionaries({"site": texts, "größe": texts, "n": texts, "when": moments}),
    min_size=1,
    max_size=30,
)


def as_batch(rows, *, coded):
    columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in CONTRACT.fields}
    if coded:
        columns = {name: column.dictionary_encode() for name, column in columns.items()}
    return pa.record_batch(
        columns | {"when": pa.array([row["when"] for row in rows], pa.timestamp("us"))}
    )


@given(rows=several, coded=st.booleans())
@settings(max_examples=80, deadline=None)
def test_columns_get_what_rows_get(rows, coded):
    """Fields, times, several values, buckets, failures; and the codes follow from the texts."""
    batch = as_batch(rows, coded=coded)
    expected = [single_texts(row) for row in rows]
    for name, column in single_columns(batch, CONTRACT).items():
        assert text_list(column.texts, rows_of(column)) == [one[name] for one in expected], name
    crosses = [list(cross) for cross in CONTRACT.crosses]
    codes = [
        [naive.token_code(token, CONTRACT.bits) for token in naive.row_tokens(one, crosses)]
        for one in expected
    ]
    for one in expected:
        assert list(one) == list(CONTRACT.token_fields[: len(one)])
    assert encode_batch(batch, CONTRACT).tolist() == codes


@given(rows=several)
@settings(max_examples=30, deadline=None)
def test_failures_are_counted_by_row(rows):
    """With the input in the message; adding two halves is adding all."""
    whole, halves = Faults(), Faults()
    encode_batch(as_batch(rows, coded=True), CONTRACT, faults=whole)
    for half in (rows[::2], rows[1::2]):
        if half:
            part = Faults()
            encode_batch(as_batch(half, coded=False), CONTRACT, faults=part)
            halves.add_dict(part.to_dict())
    n_failed = sum(row["n"] in ("0", "1") for row in rows)
    assert whole.n_rows["fragile"] == halves.n_rows["fragile"] == n_failed
    assert whole.messages == halves.messages
    for message in whole.messages.get("fragile", ()):
        kind = "raises ZeroDivisionError: n is 1, for n='1'" if "n='1'" in message else "a list"
        assert kind in message


def test_a_feature_is_called_once_per_combination():
    """However many rows; a single text of a large dictionary that no row has is never tried."""
    called = []

    @feature("a", "b")
    def joined(a, b):
        called.append((a, b))
        return f"{a}{b}"

    known = {
        "a": read_column(pa.array(["x", "y", "x", None] * 500).dictionary_encode(), name="a"),
        "b": read_column(
            pa.DictionaryArray.from_arrays(
                pa.array([1, 1, 1, 2] * 500), pa.array(["no", "b", "c"])
            ),
            name="b",
        ),
    }
    column = derive([FeatureMemory(declared(joined), size=100)], known, None)["joined"]
    assert sorted(called, key=str) == [("x", "b"), ("y", "b"), (None, "c")]
    assert text_list(column.texts, rows_of(column))[:4] == ["xb", "yb", "xb", "Nonec"]


def test_too_many_failures_are_an_error():
    """One in a hundred rows passes, one more does not; the message names the feature and an input."""
    faults = Faults()
    faults.add("f", "feature 'f' raises X, for a='1'", 10)
    faults.check(1000)
    faults.add("f", "feature 'f' raises X, for a='2'", 1)
    with pytest.raises(ConfigError, match="for a='1'; it fails in 11 of 1,000 rows, more than 1%"):
        faults.check(1000)


def test_few_messages_are_kept_but_all_rows_are_counted():
    """An input that differs in each row does not fill a manifest."""
    faults, joined = Faults(), Faults()
    for number in range(1000):
        faults.add("f", f"message {number}", 2)
    joined.add_dict(faults.to_dict())
    for found in (faults, joined):
        assert len(found.messages["f"]) == 20
        assert found.n_rows["f"] == 2000


def test_a_frame_gets_a_column_per_feature():
    """Of a log's frame; a column that is there stays."""
    frame = pd.DataFrame(
        {
            "site": pd.Categorical(["a", None, "true"]),
            "größe": ["ab", "1", None],
            "n": [1, 2, 3],
            "fragile": ["mine"] * 3,
            "when": pd.to_datetime([datetime(2014, 10, 21, 13, tzinfo=UTC), None, None]),
        }
    )
    found = with_features(frame, [declared(one) for one in FEATURES], time_column="when")
    assert list(found["fragile"]) == ["mine"] * 3
    assert found["shape.length"].tolist() == ["2", "1", np.nan]
    assert found["into_the_day"].tolist()[0] == "12..18.5"
    assert found["into_the_day"].isna().tolist() == [False, True, True]


def test_a_function_that_is_tried_again_keeps_no_values_of_before():
    """A constant that it uses may have changed since, which its own source does not say."""
    known = {}

    @feature("site")
    def in_units(site):
        return int(site) // known["unit"]

    batch = pa.record_batch({"site": pa.array(["40"])})
    schema = Schema.from_dict(
        {
            "name": "any",
            "label": "click",
            "time": {"column": "when", "format": "iso"},
            "fields": {"site": {}},
        }
    )
    found = []
    for known["unit"] in (10, 20):
        schema = replace(schema, features=(try_feature(in_units).name,))
        contract = HashContract.from_schema(schema, bits=8)
        column = single_columns(batch, contract)["in_units"]
        found.append(text_list(column.texts, rows_of(column)))
    assert found == [["4"], ["2"]]
