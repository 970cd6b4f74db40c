"""Rows straight to a learner: the same codes as by way of Arrow, in order, whatever the blocks."""

import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import ConfigError, InputError
from tasks.hashing.contract import HashContract
from tasks.hashing.feature_set import Batch
from tasks.hashing.row_encoder import RowEncoder
from tasks.hashing.store import make_batch
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.schema import Schema, load_schema
from tasks.simulation.simulate import simulate_batches, write_csv
from tasks.streaming import csv_stream, hash_stream, log_stream
from tests.logs import HEADER, OTHER_TEAM, SMALL, rows, write_lines

AVAZU = HashContract.from_schema(load_schema("avazu"), bits=18)
SMALL_CONTRACT = HashContract.from_schema(SMALL, bits=12, seed=3)
PLAIN_TEXT = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=',"'), max_size=19
)


def joined(batches) -> Batch:
    """Return all rows as one batch."""
    return Batch(*(np.concatenate(arrays) for arrays in zip(*batches, strict=True)))


def assert_same(one: Batch, other: Batch) -> None:
    """Fail unless codes, labels and times are equal."""
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("block_bytes", [300, 4_000, 1 << 20])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_a_csv_gives_the_codes_of_its_rows_however_it_is_cut(tmp_path, block_bytes, n_threads):
    """Blocks and threads change nothing; the witness goes by way of Arrow's columns."""
    write_csv(tmp_path / "log.csv", 500)
    expected = joined(make_batch(batch, AVAZU) for batch in simulate_batches(500))
    found = csv_stream(tmp_path / "log.csv", AVAZU, n_threads=n_threads, block_bytes=block_bytes)
    assert_same(joined(found), expected)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.tuples(PLAIN_TEXT, PLAIN_TEXT, st.booleans()), min_size=1, max_size=30))
def test_arbitrary_plain_text_is_hashed_as_a_request_is(tmp_path_factory, values):
    """The kernel over bytes and the encoder of live requests agree on values of any length."""
    lines = [f"{i},{int(c)},141021{i % 24:02d},{a},{b}" for i, (a, b, c) in enumerate(values)]
    path = write_lines(tmp_path_factory.mktemp("csv") / "log.csv", lines)
    requests = [
        {"site": a, "pos": b, "hour": f"141021{i % 24:02d}"} for i, (a, b, _) in enumerate(values)
    ]
    found = joined(csv_stream(path, SMALL_CONTRACT))
    np.testing.assert_array_equal(found.codes, RowEncoder(SMALL_CONTRACT).encode_rows(requests))
    assert found.label.tolist() == [clicked for *_, clicked in values]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace(",s3,", ',"s3",'),
        lambda text: text.replace("\n7,", "\n\n7,"),
    ],
    ids=["CRLF", "no last line break", "BOM", "quotes", "empty line"],
)
@pytest.mark.parametrize("block_bytes", [64, 1 << 20])
def test_csv_that_is_not_plain_gives_the_same_rows(tmp_path, change, block_bytes):
    """What the fast way leaves alone is parsed by Arrow, and nobody sees the difference."""
    path = write_lines(tmp_path / "log.csv", rows(30, hours=("14102100", "14102113")))
    expected = joined(csv_stream(path, SMALL_CONTRACT))
    path.write_bytes(change(path.read_text()).encode())
    assert_same(joined(csv_stream(path, SMALL_CONTRACT, block_bytes=block_bytes)), expected)


def test_letters_of_any_script_are_hashed_as_utf_8(tmp_path):
    """Text that is not ASCII goes the slow way and is right."""
    path = write_lines(tmp_path / "log.csv", ["1,0,14102100,żółć,2", "2,1,14102100,a,日本"])
    requests = [{"site": "żółć", "pos": "2"}, {"site": "a", "pos": "日本"}]
    expected = RowEncoder(SMALL_CONTRACT).encode_rows([r | {"hour": "14102100"} for r in requests])
    np.testing.assert_array_equal(joined(csv_stream(path, SMALL_CONTRACT)).codes, expected)


def test_an_empty_value_is_a_missing_one(tmp_path):
    """`a,,b` has the token of a request without that field."""
    path = write_lines(tmp_path / "log.csv", ["1,0,14102105,,", "2,1,14102105,x,"])
    expected = RowEncoder(SMALL_CONTRACT).encode_rows(
        [{"hour": "14102105"}, {"hour": "14102105", "site": "x"}]
    )
    np.testing.assert_array_equal(joined(csv_stream(path, SMALL_CONTRACT)).codes, expected)


def test_another_teams_log_without_time_features_streams_too(tmp_path):
    """Columns in any order, others beside them, times with a zone."""
    lines = ["ios,x,0,2024-01-01T00:00:00Z,top", "web,y,1,2024-01-01T01:00:00+01:00,side"]
    path = write_lines(tmp_path / "log.csv", lines, header="os,extra,tapped,at,slot")
    contract = HashContract.from_schema(OTHER_TEAM, bits=10)
    found = joined(csv_stream(path, contract))
    expected = RowEncoder(contract).encode_rows(
        [{"slot": "top", "os": "ios"}, {"slot": "side", "os": "web"}]
    )
    np.testing.assert_array_equal(found.codes, expected)
    assert found.time.tolist()[0] == found.time.tolist()[1]


def test_crosses_are_hashed_by_way_of_arrow(tmp_path):
    """A contract with crosses works, if more slowly."""
    schema = Schema.from_dict(SMALL.to_dict() | {"crosses": [["site", "pos"]]})
    contract = HashContract.from_schema(schema, bits=12)
    path = write_lines(tmp_path / "log.csv", rows(20))
    requests = [{"site": f"s{i % 7}", "pos": str(i % 4), "hour": "14102100"} for i in range(20)]
    expected = RowEncoder(contract).encode_rows(requests)
    np.testing.assert_array_equal(joined(csv_stream(path, contract)).codes, expected)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("9,1,14102100,a", r"line 12 is no row \(wrong number of columns\)"),
        ("9,1,14102100,a,b,c", r"line 12 is no row \(wrong number of columns\)"),
        ('9,1,14102100,"a,b', r"line 12 is no row \(stray quote"),
        ("9,yes,14102100,a,b", "label 'click' must be 0 or 1"),
        ("9,2,14102100,a,b", "label 'click' must be 0 or 1"),
        ("9,1,141021xx,a,b", "'141021xx' is no time"),
        ("9,1,,a,b", "'' is no time"),
    ],
)
@pytest.mark.parametrize("block_bytes", [40, 1 << 20])
def test_a_bad_line_is_named(tmp_path, line, message, block_bytes):
    """One line says which line of the file is no row, wherever blocks were cut."""
    path = write_lines(tmp_path / "log.csv", [*rows(10), line, *rows(10)])
    with pytest.raises(InputError, match=message):
        joined(csv_stream(path, SMALL_CONTRACT, block_bytes=block_bytes))


def test_a_file_that_cannot_be_used_is_refused(tmp_path):
    """No file, no header, a column short: one line each."""
    with pytest.raises(InputError, match="cannot be opened"):
        next(csv_stream(tmp_path / "none.csv", SMALL_CONTRACT))
    (tmp_path / "empty.csv").touch()
    with pytest.raises(InputError, match="missing column"):
        next(csv_stream(tmp_path / "empty.csv", SMALL_CONTRACT))
    short = write_lines(tmp_path / "short.csv", ["1,0,14102100,a"], header=HEADER[:-4])
    with pytest.raises(InputError, match="missing column 'pos'"):
        next(csv_stream(short, SMALL_CONTRACT))


def test_a_header_alone_gives_no_rows(tmp_path):
    """An export without rows is not an error here; a learner says that it saw nothing."""
    assert list(csv_stream(write_lines(tmp_path / "log.csv", []), SMALL_CONTRACT)) == []


@pytest.mark.parametrize("knob", ["n_threads", "block_bytes"])
def test_a_knob_out_of_its_range_is_refused(tmp_path, knob):
    """Nothing starts with no threads or no bytes."""
    with pytest.raises(ConfigError, match=f"{knob} must be an integer of at least 1"):
        next(csv_stream(tmp_path / "log.csv", SMALL_CONTRACT, **{knob: 0}))


def test_a_span_of_a_log_streams_in_order(tmp_path):
    """Rows come as the log has them, hashed as one by one."""
    ingest_log("sim://avazu?rows=3000", tmp_path / "log", schema=load_schema("avazu"))
    log = Log.open(tmp_path / "log")
    expected = joined(make_batch(batch, AVAZU) for batch in log.batches(start=500, stop=2500))
    found = joined(log_stream(log, AVAZU, start=500, stop=2500, batch_rows=333))
    assert_same(found, expected)


def test_an_error_of_the_source_arrives_after_the_batches_before_it():
    """A consumer gets what came before, then the error itself."""

    def source():
        yield from simulate_batches(200, batch_rows=100)
        raise InputError("the disk is gone")

    stream = hash_stream(source(), AVAZU)
    assert [len(next(stream).label) for _ in range(2)] == [100, 100]
    with pytest.raises(InputError, match="the disk is gone"):
        next(stream)


def test_a_consumer_that_stops_early_leaves_no_thread(tmp_path: Path):
    """Closing a stream ends its threads."""
    before = threading.active_count()
    path = write_lines(tmp_path / "log.csv", rows(2_000))
    for stream in (
        hash_stream(simulate_batches(5_000, batch_rows=100), AVAZU),
        csv_stream(path, SMALL_CONTRACT, block_bytes=500),
    ):
        next(stream)
        stream.close()
    assert threading.active_count() == before


def test_no_batches_give_no_batches():
    """An empty source ends at once."""
    assert list(hash_stream(iter(list[pa.RecordBatch]()), AVAZU)) == []
