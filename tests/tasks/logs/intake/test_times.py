"""Texts to moments: in bulk, one by one, when a log is ingested, and when its rows are hashed."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import InputError
from tasks.hashing.contract import HashContract
from tasks.hashing.features.rows import RowFeatures
from tasks.hashing.moments import read_moments
from tasks.hashing.row_encoder import RowEncoder
from tasks.logs.intake.times import NOT_A_TIME, TimeParser
from tasks.schema import Schema

FORMATS = st.sampled_from(["iso", "%y%m%d%H", "%Y-%m-%d %H:%M:%S", "%d/%m/%Y %H:%M:%S.%f"])


def schema_of(time_format: str) -> Schema:
    """Return a schema with a time column of that format."""
    time = {"column": "t", "format": time_format}
    raw = {
        "name": "x",
        "label": "y",
        "time": time,
        "features": ["hour_of_day"],
        "fields": {"a": {}},
    }
    return Schema.from_dict(raw)


@given(
    st.lists(st.datetimes(), min_size=1, max_size=20),
    FORMATS,
)
def test_fast_and_slow_times_agree(moments, time_format):
    """What Arrow parses in bulk is what the schema says of each text."""
    schema = schema_of(time_format)
    texts = [
        moment.isoformat() if time_format == "iso" else moment.strftime(time_format)
        for moment in moments
    ]
    texts += [
        "",
        "garbage",
        "14023013",
        "2014-02-30 00:00:00",
        "2014-02-30T00:00:00",
        "2014-10-21T24:00:00",
        "1410211",
    ]
    slow = TimeParser(schema).ticks(pa.array(texts), "file")
    fast = TimeParser(schema).ticks(
        pa.array(texts + [f"no time {number}" for number in range(2000)]), "file"
    )
    assert fast[: len(texts)].tolist() == slow.tolist()


@given(
    FORMATS,
    st.datetimes(),
    st.text(max_size=3),
    st.integers(0, 30),
    st.sampled_from(["", "Z", "+05:30"]),
)
def test_ingest_and_hashing_read_a_text_alike(time_format, moment, noise, at, zone):
    """A text with noise in it is one moment for both, or none for both; spaces around it only ingest forgives."""
    schema = schema_of(time_format)
    text = moment.isoformat() if time_format == "iso" else moment.strftime(time_format)
    text = (text[:at] + noise + text[at:] + zone).strip()
    (tick,) = TimeParser(schema).ticks(pa.array([text]), "file")
    contract = HashContract.from_schema(schema, bits=8)
    if tick == NOT_A_TIME:
        with pytest.raises(InputError, match=r"field 't': .* is not a time of the format"):
            read_moments(pa.array([text]), contract)
        with pytest.raises(InputError, match=r"field 't': .* is not a time of the format"):
            RowEncoder(contract).encode_row({"t": text})
    else:
        (milliseconds,) = read_moments(pa.array([text]), contract)
        assert milliseconds == tick // 1000
        hour = str(np.datetime64(int(tick), "us").astype("datetime64[h]").astype(int) % 24)
        features = RowFeatures(contract)
        inputs = features.values([""] * len(contract.fields), text)
        assert features.texts(inputs) == [hour]


@given(st.lists(st.integers(-(2**51), 2**51) | st.none(), min_size=1))
def test_the_time_column_of_a_log_is_read_alike(ticks):
    """Once ingested, a moment is a number: both take it as it is, hashing in milliseconds, rounded down."""
    schema = schema_of("iso")
    column = pa.array(ticks, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    found = TimeParser(schema).ticks(column, "file")
    moments = read_moments(column, HashContract.from_schema(schema, bits=8))
    assert found.tolist() == [NOT_A_TIME if tick is None else tick for tick in ticks]
    assert moments.tolist() == [NOT_A_TIME if tick is None else tick // 1000 for tick in ticks]
