"""Texts to moments: in bulk, one by one, when a log is ingested, and when its rows are hashed."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import InputError
from tasks.hashing.contract import HashContract
from tasks.hashing.features.rows import RowFeatures
from tasks.hashing.moments import read_moments
from tasks.hashing.row_encoder import RowEncoder
from tasks.ingest import ingest_log
from tasks.logs.intake.times import NOT_A_TIME, TimeParser, stray_days
from tasks.schema import Schema
from tests.logs import SMALL, hours_of, rows, write_lines

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


@given(
    st.lists(st.integers(-(10**18), 10**18) | st.integers(0, 2 * 10**9)),
    st.sampled_from(["epoch", "epoch_ms", "epoch_us"]),
)
def test_fast_and_slow_numbers_agree(numbers, time_format):
    """Seconds to microseconds since 1970; what is outside the years 1 to 9999 is no time."""
    texts = [*map(str, numbers), "1.5", "-0", "+1", "1e9", "0x1"]
    schema = schema_of(time_format)
    many = pa.array(texts + [f"no time {number}" for number in range(2000)])
    fast = TimeParser(schema).ticks(many, "file")[: len(texts)]
    assert fast.tolist() == TimeParser(schema).ticks(pa.array(texts), "file").tolist()


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kolkata"])
@pytest.mark.parametrize("time_format", ["iso", "%Y-%m-%d %H:%M:%S"])
def test_a_zone_is_read_alike_fast_and_slow(zone, time_format):
    """Also in hours that a clock skips or repeats, before the year 1, and where a text names its own zone."""
    raw = schema_of(time_format).to_dict()
    schema = Schema.from_dict(raw | {"time": raw["time"] | {"zone": zone}})
    texts = [f"2024-{day} {hour:02d}:30:00" for day in ("03-10", "03-31", "07-01", "10-27", "11-03") for hour in range(5)]  # fmt: skip
    texts += ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "0001-01-01 00:00:00", "9999-12-31 23:30:00"]  # fmt: skip
    many = pa.array(texts + [f"no time {number}" for number in range(2000)])
    fast = TimeParser(schema).ticks(many, "file")[: len(texts)]
    assert fast.tolist() == TimeParser(schema).ticks(pa.array(texts), "file").tolist()


def test_stray_times_are_those_far_from_nearly_all():
    """A piece counts by its distance and by its rows; a log with a year's break is one log."""
    days = dict.fromkeys(range(20_000, 20_010), 100)
    assert stray_days(days | {0: 3, 2_932_896: 2}) == [0, 2_932_896]
    assert stray_days(days | {0: 300}) == []
    assert stray_days(days | {20_300: 1}) == []
    assert stray_days({}) == stray_days({5: 1}) == []


def test_strays_go_to_quarantine_with_their_place(tmp_path):
    """And a later row with the id of one is no duplicate of it."""
    lines = rows(300, hours=hours_of(2))
    lines.insert(7, "150,1,70010100,s1,1")
    source = write_lines(tmp_path / "raw.csv", lines)
    found = ingest_log(str(source), tmp_path / "log", schema=SMALL)
    assert found["quarantine"] == {"time is far from that of the other rows": 1}
    (bad,) = pq.read_table(tmp_path / "log/quarantine.parquet").to_pylist()
    assert (bad["row"], found["n_rows"], len(found["days"])) == (9, 300, 2)


def test_date_and_hour_can_be_two_columns(tmp_path):
    """Joined by a space, whatever types they have."""
    columns = {"d": ["2024-05-01"] * 3, "h": [0, 5, 23], "click": [0, 1, 0], "a": ["x"] * 3}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    time = {"columns": ["d", "h"], "format": "%Y-%m-%d %H"}
    raw = {"name": "x", "label": "click", "time": time, "fields": {"a": {}}}
    found = ingest_log(str(tmp_path / "a.parquet"), tmp_path / "log", schema=Schema.from_dict(raw))
    assert list(found["hours"]) == ["2024-05-01T00", "2024-05-01T05", "2024-05-01T23"]


@pytest.mark.parametrize(
    "column",
    [pa.array([[1], [2]]), pa.array([{"a": 1}, {"a": 2}]), pa.array([b"\xff", b"\xfe"])],
    ids=["list", "struct", "binary"],
)
def test_a_time_column_of_another_type_is_one_line(column):
    """Named with its type."""
    with pytest.raises(InputError, match="the time column 't' has the type"):
        TimeParser(schema_of("iso")).ticks(column, "a.parquet")


def test_a_date_beyond_all_times_is_none():
    """The largest day that a column can hold is in no year that the log has; the others stay."""
    days = pa.array([0, 2**31 - 1, 19_000, None], pa.int32()).cast(pa.date32())
    ticks = TimeParser(schema_of("iso")).ticks(days, "a.parquet")
    assert ticks.tolist() == [0, NOT_A_TIME, 19_000 * 86_400_000_000, NOT_A_TIME]
