"""The exposure log: everything that was put is written or counted, and nothing else ever is."""

import doctest
import json
import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.request import Request, urlopen

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bentos.ctr.exposures import Exposure, ExposureLog, ExposureSettings, record
from bentos.ctr.exposures import delivery as delivery_module
from bentos.ctr.exposures import log as log_module
from bentos.ctr.exposures import settings as settings_module
from bentos.ctr.exposures.record import LineEncoder
from bentos.ctr.exposures.sinks import StdoutSink
from tasks.errors import ConfigError, InputError
from tasks.logs.value_text import FieldText
from tasks.schema import Schema
from tasks.serving import exposure_files
from tasks.serving.candidates import Candidates
from tasks.serving.exposure_files import Lines, record_schema
from tasks.serving.exposures import read_exposures
from tasks.storage.s3 import _client
from tests.conftest import ROOT, free_port

COLUMNS = ["hour", "device_id", "site_id", "C14"]
ROW = {"hour": "14102100", "device_id": "0a1b2c3d", "site_id": "1fbe01fe", "C14": "15706"}
TIME_NS = 1_767_225_600_123_456_789  # 2026-01-01T00:00:00.123456789Z


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    """Retry at once, so that no test waits."""
    monkeypatch.setattr(log_module, "_RETRY_S", 0.05)
    monkeypatch.setattr(delivery_module, "_FIRST_WAIT_S", 0.05)


def exposure(number=0, *, seen=ROW, p_click=0.25, **more):
    """Return what the service puts for one answer."""
    call = "rank" if isinstance(p_click, list) else "predict"
    head = (f"r{number}", TIME_NS + number, call, "champion", "3f2a91c07b5e", "9c" * 8, False)
    return Exposure(*head, seen, p_click, **more)


@contextmanager
def exposure_log(sink, *, columns=COLUMNS, **settings):
    """Yield a log and close it, whatever happens."""
    log = ExposureLog(
        ExposureSettings.from_mapping({"sink": str(sink), **settings}), columns=columns
    )
    try:
        yield log
    finally:
        log.close(timeout_s=5)


def wait_until(condition, *, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def finished(folder, suffix=".jsonl"):
    return sorted(path for path in folder.rglob(f"*{suffix}"))


def lines_of(*paths):
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def accounted(log):
    """Return whether every exposure was written or counted as dropped."""
    return log.n_put == log.n_written + log.n_dropped and log.depth >= 0


# ---- records


def test_a_line_holds_what_was_asked_and_answered(tmp_path):
    """Request, time, who answered, unit hash, fields, probability, shadows: in one line."""
    with exposure_log(tmp_path) as log:
        log.put(exposure(seen=ROW, shadow={"fm": 0.5}, experiment="ab12", unit_field="device_id"))
    assert lines_of(*finished(tmp_path)) == [
        {
            "request_id": "r0",
            "time": "2026-01-01T00:00:00.123456Z",
            "call": "predict",
            "experiment": "ab12",
            "variant": "champion",
            "version": "3f2a91c07b5e",
            "unit_hash": "9c" * 8,
            "unit_field": "device_id",
            "forced": False,
            "fields": ROW,
            "candidates": None,
            "p_click": [0.25],
            "shadow": [{"model": "fm", "p_click": [0.5]}],
        }
    ]


def test_a_ranking_is_one_line_with_its_candidates(tmp_path):
    """The context once, the candidates and their probabilities in order."""
    candidates = Candidates.of(ROW, [{"C14": "1"}, {"C14": "2", "site_id": "x"}])
    with exposure_log(tmp_path) as log:
        log.put(exposure(seen=(ROW, candidates), p_click=[0.1, 0.2], shadow={"fm": [0.3, 0.4]}))
    (line,) = lines_of(*finished(tmp_path))
    assert (line["fields"], line["p_click"]) == (ROW, [0.1, 0.2])
    assert line["candidates"] == {"C14": ["1", "2"], "site_id": [None, "x"]}
    assert line["shadow"] == [{"model": "fm", "p_click": [0.3, 0.4]}]


def test_a_candidate_is_written_as_what_differs_from_the_context():
    """Null stands for the context's text, whatever kinds they were; so a small request stays a small line."""
    context = {"a": "x", "b": 7.5, "c": None, "d": ["p", "q"]}
    rows = [{"a": "y", "b": 7.5, "d": ["p"]}, {}, {"a": None, "b": True, "c": "z"}]
    seen = (context, Candidates.of(context, rows))
    line = json.loads(LineEncoder().encode(exposure(seen=seen, p_click=[0.1, 0.2, 0.3])))
    assert line["candidates"] == {
        "a": ["y", None, ""],
        "b": [None, None, "true" if "true" in line["candidates"]["b"] else "True"],
        "c": [None, None, "z"],
        "d": ["p\x1f", None, None],
    }


@pytest.mark.parametrize("text", ["x", "\u0001", "\U0001f600", ["x" * 9, "y"]])
def test_a_small_ranking_makes_a_small_line(text):
    """One candidate names every field, 999 name none: their texts are the context's, once."""
    names = [f"field_{number}" for number in range(21)]
    context = {name: text * 1000 if isinstance(text, str) else text for name in names}
    rows = [*[{}] * 999, dict.fromkeys(names, "own")]
    seen = (context, Candidates.of(context, rows))
    line = LineEncoder().encode(exposure(seen=seen, p_click=[0.25] * 1000))
    assert len(line) < 250_000


def test_a_line_that_is_too_long_is_dropped_and_counted(tmp_path):
    """No reader would take it; those around it are written."""
    with exposure_log(tmp_path) as log:
        log.put(exposure(1))
        log.put(exposure(2, seen={"C14": "x" * record.MAX_LINE_BYTES}))
        log.put(exposure(3))
    assert (log.n_written, log.n_dropped) == (2, 1)
    assert record.MAX_LINE_BYTES < exposure_files._BLOCK_BYTES


def test_the_queue_is_bounded_in_bytes(tmp_path):
    """Few rows of long texts fill it before many of short ones would."""
    (tmp_path / "log").write_text("in the way")
    with exposure_log(tmp_path / "log", queue_mb=1) as log:
        for number in range(20):
            log.put(exposure(number, seen={"C14": "x" * 200_000}))
        assert log.depth < 10
    assert log.n_put == log.n_written + log.n_dropped == 20


def test_values_are_written_as_the_texts_that_are_hashed():
    """Numbers become texts, null the empty one; so a column has one type in all files."""
    row = {"a": 15706, "b": 15706.0, "c": None, "d": True, "e": 0.5, "f": "x", "g": {"h": 1}}
    line = json.loads(LineEncoder().encode(exposure(seen=row)))
    assert line["fields"] == {
        **{"a": "15706", "b": "15706", "c": "", "d": "true", "e": "0.5", "f": "x", "g": ""}
    }


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_a_list_is_written_and_read_back_as_its_items(tmp_path, file_format):
    """Of requests, contexts and candidates; an item may hold the separator, and no more are written than can count."""
    schema = Schema.from_dict(
        {"name": "x", "label": "y", "fields": {"tags": {"type": "list", "max_items": 1000}}}
    )
    lists = [["a|b"], ["b", None, 7, "b", 0.5], [], "c|d", None, list(range(5000))]
    with exposure_log(tmp_path, columns=["tags"], format=file_format) as log:
        for tags in lists:
            log.put(exposure(seen={"tags": tags}))
        candidates = Candidates.of({"tags": ["x"]}, [{}, {"tags": ["y", "z"]}, {"tags": [[1]]}])
        log.put(exposure(seen=({"tags": ["x"]}, candidates), p_click=[0.1, 0.2, 0.3]))
    text = FieldText(schema, schema.fields[0])
    found = [row["tags"] for row in read_exposures(tmp_path)["fields"].to_pylist()]
    expected = [["a|b"], ["b", "7", "0.5"], [], ["c", "d"], [], list(map(str, range(1000)))]
    assert list(map(text.items, found)) == [*expected, ["x"], ["y", "z"], []]


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.dictionaries(
            st.sampled_from(COLUMNS),
            st.text(st.characters(codec="utf-8")) | st.integers(),
            max_size=4,
        )
    )
)
def test_any_text_comes_back_as_it_was(rows):
    """Line ends, quotes, NUL, anything that UTF-8 can hold: one line each, and the same values."""
    encoder = LineEncoder(columns=COLUMNS)
    data = b"".join(encoder.encode(exposure(seen=row)) + b"\n" for row in rows)
    lines = Lines(pa.py_buffer(data))
    found = lines.read(record_schema(COLUMNS))["fields"].to_pylist()
    assert found == [{n: str(row[n]) if n in row else None for n in COLUMNS} for row in rows]
    assert lines.n_skipped == 0


@pytest.mark.parametrize(
    "time_ns", [0, 999, 1_000, TIME_NS, 1_767_225_600_999_999_999, 4 * 10**18 + 1_000]
)
def test_a_time_is_cut_to_its_microsecond(time_ns):
    """Exactly, whatever floats do."""
    line = json.loads(LineEncoder().encode(exposure()._replace(time_ns=time_ns)))
    found = datetime.fromisoformat(line["time"]) - datetime(1970, 1, 1, tzinfo=UTC)
    assert found // timedelta(microseconds=1) == time_ns // 1_000


def test_shorter_and_plain_tuples_will_do():
    """The last three values may be left out."""
    whole = exposure()
    assert {LineEncoder().encode(tuple(whole)[:n]) for n in range(9, 13)} == {
        LineEncoder().encode(whole)
    }


def test_fields_that_are_no_columns_are_not_logged(tmp_path):
    """What a client sends beyond the schema may be anything, such as a name."""
    candidates = Candidates.of(ROW, [{"C14": "1", "email": "someone"}])
    seen = (ROW | {"email": "someone"}, candidates)
    with exposure_log(tmp_path) as log:
        log.put(exposure(seen=seen, p_click=[0.5]))
    (line,) = lines_of(*finished(tmp_path))
    assert (line["fields"], line["candidates"]) == (ROW, {"C14": ["1"]})


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_a_redacted_value_is_in_no_file(tmp_path, file_format):
    """Neither of the context nor of a candidate, nor of the unit itself, nor while it is written."""
    secret = "5ec2e75ec2e7"
    rows = [{"device_id": secret, "C14": "1"}, {"C14": "2"}]
    seen = (ROW | {"device_id": secret}, Candidates.of({"device_id": secret}, rows))
    kept = {}
    with exposure_log(tmp_path, format=file_format, redact=["device_id"]) as log:
        log.put(exposure(seen=seen[0], unit_field="device_id"))
        log.put(exposure(seen=seen, p_click=[0.1, 0.2]))
        wait_until(lambda: log.n_written == 2)
        kept |= {path: path.read_bytes() for path in tmp_path.rglob("*.part")}
    kept |= {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(kept) == 2
    assert not any(secret.encode() in content for content in kept.values())
    rows = read_exposures(tmp_path)
    assert secret not in str(rows.to_pylist())
    assert rows["unit_hash"].to_pylist() == ["9c" * 8] * 3
    assert rows["fields"].combine_chunks().field("C14").to_pylist() == ["15706", "1", "2"]


def test_redacting_every_column_logs_no_field(tmp_path):
    """No column left is not the same as all columns."""
    with exposure_log(tmp_path, columns=["device_id"], redact=["device_id"]) as log:
        log.put(exposure())
    assert lines_of(*finished(tmp_path))[0]["fields"] == {}


def test_a_misspelt_name_under_redact_is_an_error(tmp_path):
    """Otherwise the values would be logged unnoticed."""
    settings = ExposureSettings.from_mapping({"sink": str(tmp_path), "redact": ["device"]})
    with pytest.raises(ConfigError, match="redact names 'device', which is no field"):
        ExposureLog(settings, columns=COLUMNS)


def test_one_exposure_that_cannot_be_written_does_not_stop_the_others(tmp_path, caplog):
    """It is counted as dropped, and the log says so without its values."""
    with exposure_log(tmp_path) as log:
        for number, name in enumerate(["x", "\ud800", "y"]):
            log.put(exposure(number, seen=ROW | {"site_id": name}))
    assert [line["request_id"] for line in lines_of(*finished(tmp_path))] == ["r0", "r2"]
    assert (log.n_written, log.n_dropped) == (2, 1)
    assert "cannot be written as JSON" in caplog.text


# ---- files


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_a_file_is_finished_when_it_is_large(tmp_path, file_format):
    """All rows are in finished files, each row once, and no part is left."""
    with exposure_log(tmp_path, format=file_format, rotate_mb=0.02) as log:
        for number in range(500):
            log.put(exposure(number))
            if number % 50 == 0:
                wait_until(lambda: log.depth == 0)
    assert len(finished(tmp_path, f".{file_format}")) >= 5
    assert finished(tmp_path, ".part") == []
    found = read_exposures(tmp_path)["request_id"].to_pylist()
    assert sorted(found) == sorted(f"r{number}" for number in range(500))
    assert (log.n_put, log.n_written, log.n_dropped, log.n_failed) == (500, 500, 0, 0)


def test_a_file_is_finished_when_it_is_old(tmp_path):
    """Without another exposure coming in; and nothing is made while nothing comes."""
    with exposure_log(tmp_path, rotate_s=0.2) as log:
        log.put(exposure())
        wait_until(lambda: finished(tmp_path))
        time.sleep(0.3)
        assert len(list(tmp_path.rglob("*.*"))) == 1


def test_files_lie_by_day_under_unique_names(tmp_path):
    """Host, process, start and number; the folder is a partition that Athena understands."""
    for _ in range(2):
        with exposure_log(tmp_path) as log:
            log.put(exposure())
    paths = finished(tmp_path)
    assert len({path.name for path in paths}) == 2
    assert all(f"-{os.getpid()}-" in path.name for path in paths)
    assert all(
        path.parent.name == f"day={time.strftime('%Y-%m-%d', time.gmtime())}" for path in paths
    )


def test_every_parquet_file_has_the_schema_of_the_log(tmp_path):
    """Whatever fields occur in it, and whether there was a ranking or not."""
    for seen, p_click in [({}, 0.5), (({}, Candidates({"C14": ["1"]}, 1)), [0.5]), (ROW, 0.5)]:
        with exposure_log(tmp_path, format="parquet", redact=["device_id"]) as log:
            log.put(exposure(seen=seen, p_click=p_click))
    schemas = [pq.read_schema(path) for path in finished(tmp_path, ".parquet")]
    assert len(schemas) == 3
    assert schemas[0] == schemas[1] == schemas[2]
    assert [field.name for field in schemas[0].field("fields").type] == ["hour", "site_id", "C14"]


# ---- limits and faults


def test_off_writes_and_counts_nothing():
    """And starts no thread."""
    with exposure_log("off") as log:
        log.put(exposure())
    assert not log.is_on
    assert (log.n_put, log.n_dropped, log.depth) == (0, 0, 0)


def test_what_does_not_fit_into_the_queue_is_counted_exactly(tmp_path):
    """The sink is stuck (its folder is a file): what was taken waits, the rest is dropped."""
    blocked = tmp_path / "folder"
    blocked.write_text("")
    with exposure_log(blocked, queue_rows=10) as log:
        for number in range(100):
            log.put(exposure(number))
        wait_until(lambda: log.n_failed >= 2)
        assert (log.n_put, log.n_dropped, log.depth, log.n_written) == (100, 90, 10, 0)
        blocked.unlink()
        wait_until(lambda: log.depth == 0)
        log.put(exposure(100))
    kept = [line["request_id"] for line in lines_of(*finished(blocked))]
    assert kept == [*[f"r{number}" for number in range(10)], "r100"]
    assert (log.n_written, log.n_dropped) == (11, 90)


def test_a_ranking_counts_by_its_candidates(tmp_path):
    """Memory is what is bounded, so one of 600 candidates fills a queue of 1,000 rows sooner."""
    blocked = tmp_path / "folder"
    blocked.write_text("")
    with exposure_log(blocked, queue_rows=1_000) as log:
        for number in range(3):
            log.put(exposure(number, seen=(ROW, Candidates({}, 600)), p_click=[0.5] * 600))
        assert (log.depth, log.n_dropped) == (1_200, 1)
        blocked.unlink()
    assert (log.n_written, log.n_dropped, log.depth) == (2, 1, 0)


def test_after_closing_everything_is_dropped_and_closing_again_is_harmless(tmp_path):
    """A late exposure is counted, no longer written."""
    with exposure_log(tmp_path) as log:
        log.put(exposure(0))
        log.close()
        log.put(exposure(1))
    assert (log.n_put, log.n_written, log.n_dropped) == (2, 1, 1)


def test_closing_flushes_what_is_queued(tmp_path):
    """Thousands of exposures that were put a moment before."""
    with exposure_log(tmp_path) as log:
        for number in range(5_000):
            log.put(exposure(number))
    assert len(lines_of(*finished(tmp_path))) == 5_000
    assert (log.n_written, log.n_dropped) == (5_000, 0)


def test_closing_gives_up_in_time(tmp_path, caplog):
    """A sink that never works costs the shutdown its timeout; the loss is counted and said."""
    blocked = tmp_path / "folder"
    blocked.write_text("")
    with exposure_log(blocked) as log:
        log.put(exposure())
        log.close(timeout_s=0.2)
    assert (log.n_written, log.n_dropped) == (0, 1)
    assert "1 of 1 exposures were dropped" in caplog.text


def test_a_removed_folder_costs_its_file_only(tmp_path, caplog):
    """Somebody deletes the folder under the log: said, and the next file is made anew."""
    folder = tmp_path / "log"
    with exposure_log(folder, rotate_s=0.1) as log:
        log.put(exposure(0))
        wait_until(lambda: finished(folder, ".part"))
        finished(folder, ".part")[0].unlink()
        wait_until(lambda: log.n_failed == 1)
        log.put(exposure(1))
    assert [line["request_id"] for line in lines_of(*finished(folder))] == ["r1"]
    assert "was removed from outside" in caplog.text


def run(script: str, *words: str, **options) -> subprocess.Popen:
    """Start a process that has a log of its own."""
    beginning = """
        import sys, time
        from bentos.ctr.exposures import ExposureLog, ExposureSettings
        def start(**settings):
            return ExposureLog(ExposureSettings.from_mapping(settings))
        def exposure(number):
            row = {"site_id": "1fbe01fe" * 8, "C14": "15706"}
            return (f"r{number}", 0, "predict", "champion", "3f", "9c", False, row, 0.25)
    """
    code = textwrap.dedent(beginning) + textwrap.dedent(script)
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", code, *words], env=env, text=True, **options)


FULL_DISK = """
    import resource
    from bentos.ctr.exposures import log as log_module
    log_module._RETRY_S = 0.05
    whole = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, whole[1]))  # no file may be larger
    log = start(sink=sys.argv[1], queue_rows=200)
    for number in range(1_000):
        log.put(exposure(number))
        time.sleep(0.001)
    while log.n_failed < 2:
        time.sleep(0.01)
    full = (log.n_put, log.n_dropped, log.depth, log.n_written)
    assert log.n_put == log.n_dropped + log.depth + log.n_written and log.n_dropped > 0, full
    resource.setrlimit(resource.RLIMIT_FSIZE, whole)
    log.close()
    print(log.n_written, log.n_dropped)
"""


@pytest.mark.slow
def test_a_disk_that_takes_no_more_loses_nothing_that_was_taken(tmp_path):
    """Half-written chunks are taken back and written again when there is room; each row once."""
    process = run(FULL_DISK, str(tmp_path), stdout=subprocess.PIPE)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    n_written, n_dropped = map(int, printed.split())
    found = [line["request_id"] for line in lines_of(*finished(tmp_path))]
    assert len(found) == len(set(found)) == n_written
    assert n_written + n_dropped == 1_000
    assert n_written >= 200


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_a_full_disk_is_survived_and_left_when_there_is_room(small_disk, file_format):
    """Really full: puts go on, failures and drops are counted, and all that was taken arrives."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 200_000)
    with exposure_log(small_disk, format=file_format, queue_rows=500) as log:
        for number in range(2_000):
            log.put(exposure(number))
            time.sleep(0.0005)
        wait_until(lambda: log.n_failed >= 2)
        assert log.n_dropped > 0
        assert log.n_put == log.n_written + log.n_dropped + log.depth
        ballast.unlink()
    assert accounted(log)
    found = read_exposures(small_disk)["request_id"].to_pylist()
    assert len(found) == len(set(found)) == log.n_written


WRITE_FOR_EVER = """
    log = start(sink=sys.argv[1], format=sys.argv[2])
    number = 0
    while True:
        log.put(exposure(number))
        number += 1
        time.sleep(0.0001)
"""


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_a_killed_process_leaves_what_it_wrote_to_the_next_one(tmp_path, file_format):
    """SIGKILL: the next start finishes the file; at most the last line is torn, and counted."""
    process = run(WRITE_FOR_EVER, str(tmp_path), file_format)
    try:
        wait_until(lambda: any(path.stat().st_size > 50_000 for path in tmp_path.glob("*.part")))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (part,) = tmp_path.glob("*.part")
    n_lines = part.read_bytes().count(b"\n")
    with part.open("ab") as file:
        file.write(
            b'{"request_id":"torn","time":"2026-'
        )  # the kill may well hit between two writes
    assert read_exposures(part).num_rows == n_lines
    with exposure_log(tmp_path, columns=["site_id", "C14"], format=file_format):
        wait_until(lambda: finished(tmp_path, f".{file_format}"))
    assert finished(tmp_path, ".part") == []
    rows = read_exposures(tmp_path)
    assert rows["request_id"].to_pylist() == [f"r{number}" for number in range(n_lines)]
    torn = 1 if file_format == "jsonl" else 0  # Parquet never holds it
    assert rows.schema.metadata[b"n_skipped"] == str(torn).encode()


def test_the_part_of_a_living_process_is_left_alone(tmp_path):
    """A worker that starts beside another one, or is started anew, takes orphans only."""
    with exposure_log(tmp_path) as log:
        log.put(exposure(0))
        wait_until(lambda: finished(tmp_path, ".part"))
        with exposure_log(tmp_path) as other:
            other.put(exposure(1))
        assert len(finished(tmp_path, ".part")) == len(finished(tmp_path)) == 1
        log.put(exposure(2))
    found = [line["request_id"] for line in lines_of(*finished(tmp_path))]
    assert sorted(found) == ["r0", "r1", "r2"]


def test_a_damaged_file_is_converted_without_its_broken_lines(tmp_path):
    """What a crashed disk made of an orphan must not stop the others."""
    whole = LineEncoder().encode(exposure(1, seen={"C14": "1"}))
    (tmp_path / "host-1-x-000001.jsonl.part").write_bytes(
        b"\n".join([whole, b"\0" * 50, b"[]", b"{", whole, b""])
    )
    (tmp_path / "host-1-x-000002.jsonl.part").write_bytes(b"")
    with exposure_log(tmp_path, format="parquet") as log:
        wait_until(lambda: not finished(tmp_path, ".part"))
    assert read_exposures(tmp_path)["request_id"].to_pylist() == ["r1", "r1"]
    assert log.n_failed == 0


@pytest.mark.parametrize(
    "bad",
    [b'{"p_click": "much"}', LineEncoder().encode(exposure(2, seen={"C14": "x" * (13 << 20)}))],
)
def test_what_never_converts_is_set_aside(tmp_path, caplog, bad):
    """The good lines arrive, the file is kept under a name that readers do not take, and nothing is retried."""
    good = LineEncoder().encode(exposure(1, seen={"C14": "1"}))
    content = b"\n".join([good, bad, good, b""])
    (tmp_path / "host-1-x-000001.jsonl.part").write_bytes(content)
    with exposure_log(tmp_path, format="parquet") as log:
        wait_until(lambda: log.n_set_aside)
    assert (log.n_failed, log.n_set_aside) == (0, 1)
    assert [path.read_bytes() for path in tmp_path.glob("*.aside")] == [content]
    assert read_exposures(tmp_path)["request_id"].to_pylist() == ["r1", "r1"]
    assert "exposures were set aside: 1 lines" in caplog.text


def test_files_set_aside_are_bounded(tmp_path):
    """The oldest go first."""
    for number in range(3):
        path = tmp_path / f"{number}.jsonl.aside"
        path.write_bytes(b"x" * 600_000)
        os.utime(path, (number, number))
    delivery_module.limit_aside(ExposureSettings(str(tmp_path), spool_mb=1.5))
    assert [path.name for path in finished(tmp_path, ".aside")] == [
        "1.jsonl.aside",
        "2.jsonl.aside",
    ]


# ---- standard output


STDOUT = """
    log = start(sink="stdout")
    for number in range(int(sys.argv[1])):
        log.put(exposure(number))
    log.close(timeout_s=float(sys.argv[2]))
    print("counts", log.n_put, log.n_written, log.n_dropped, file=sys.stderr)
"""


def counts(process):
    """Return what such a process put, wrote and dropped."""
    (line,) = [line for line in process.stderr if line.startswith("counts")][-1:]
    return [int(word) for word in line.split()[1:]]


@pytest.mark.slow
def test_standard_output_gets_the_lines():
    """One JSON object a line, nothing else."""
    process = run(STDOUT, "300", "10", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        out = process.stdout.read()
        assert counts(process) == [300, 300, 0]
    assert [json.loads(line)["request_id"] for line in out.splitlines()] == [
        f"r{number}" for number in range(300)
    ]


@pytest.mark.slow
def test_a_reader_that_stops_reading_stops_nothing_else():
    """The pipe is full: putting still works, closing ends in time, the loss is counted."""
    process = run(STDOUT, "30000", "0.5", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        n_put, n_written, n_dropped = counts(process)
    assert n_put == n_written + n_dropped == 30_000
    assert n_written < 30_000


@pytest.mark.slow
def test_lines_of_two_processes_are_not_mixed_up():
    """Both write to one pipe, each line in one piece."""
    reading, writing = os.pipe()
    processes = [run(STDOUT, "2000", "20", stdout=writing, stderr=subprocess.PIPE) for _ in "ab"]
    os.close(writing)
    with os.fdopen(reading) as pipe:
        found = [json.loads(line)["request_id"] for line in pipe]
    for process in processes:
        process.communicate(timeout=60)
    assert sorted(found) == sorted([f"r{number}" for number in range(2_000)] * 2)


def test_an_output_that_refuses_gets_the_rest_later():
    """After a failure in the middle of a chunk no line is missing and none is there twice."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    lines = b"".join(b'{"number":%d,"filler":"%b"}\n' % (n, b"x" * 500) for n in range(1_000))
    sink, received, n_failed = StdoutSink(writing), b"", 0
    while sink is not None:
        try:
            sink.write(lines)
            sink = None
            os.close(writing)
        except BlockingIOError:
            n_failed += 1
        while select.select([reading], [], [], 0)[0] and (some := os.read(reading, 10_000)):
            received += some
    os.close(reading)
    assert received == lines
    assert n_failed > 1


@pytest.mark.slow
def test_an_output_on_a_full_disk_is_counted():
    """/dev/full answers every write with "no space left"."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        process = run(STDOUT, "10", "0.2", stdout=full, stderr=subprocess.PIPE)
        with process:
            assert counts(process) == [10, 0, 10]


# ---- S3


@pytest.fixture
def s3(monkeypatch):
    """A real HTTP server that speaks S3, without a bucket yet."""
    from moto.server import ThreadedMotoServer

    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port)
    server.start()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    _client.cache_clear()
    from tasks.storage.s3 import s3_client

    yield s3_client()
    _client.cache_clear()
    urlopen(Request(f"http://127.0.0.1:{port}/moto-api/reset", method="POST")).close()
    server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_s3_gets_finished_files(s3, tmp_path, file_format):
    """Under the prefix, by day; the spool is empty afterwards."""
    s3.create_bucket(Bucket="bucket")
    with exposure_log(
        "s3://bucket/ads/log/", spool=str(tmp_path), format=file_format, rotate_mb=0.01
    ) as log:
        for number in range(100):
            log.put(exposure(number))
            if number % 20 == 0:
                wait_until(lambda: log.depth == 0)
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket="bucket")["Contents"]]
    assert len(keys) >= 3
    assert all(key.startswith("ads/log/day=20") and key.endswith(file_format) for key in keys)
    assert list(tmp_path.iterdir()) == []
    found = read_exposures("s3://bucket/ads/log/")["request_id"].to_pylist()
    assert sorted(found) == sorted(f"r{number}" for number in range(100))
    assert (log.n_written, log.n_failed) == (100, 0)


@pytest.mark.slow
def test_what_s3_refuses_is_sent_again(s3, tmp_path):
    """There is no bucket yet: failures are counted, and all arrives once there is one."""
    with exposure_log("s3://bucket/log", spool=str(tmp_path), rotate_s=0.1) as log:
        log.put(exposure(0))
        wait_until(lambda: log.n_failed >= 2)
        s3.create_bucket(Bucket="bucket")
        wait_until(lambda: not list(tmp_path.iterdir()))
        log.put(exposure(1))
    found = read_exposures("s3://bucket/log")["request_id"].to_pylist()
    assert sorted(found) == ["r0", "r1"]


@pytest.mark.slow
def test_what_could_not_be_sent_is_sent_by_the_next_start(s3, tmp_path, caplog):
    """The spool keeps the files of a service that had to stop before S3 was there."""
    with exposure_log("s3://bucket/log", spool=str(tmp_path)) as log:
        log.put(exposure(0))
    assert "1 exposure files could not be delivered" in caplog.text
    assert (log.n_written, log.n_dropped) == (1, 0)
    s3.create_bucket(Bucket="bucket")
    with exposure_log("s3://bucket/log", spool=str(tmp_path)):
        wait_until(lambda: not list(tmp_path.iterdir()))
    assert read_exposures("s3://bucket/log").num_rows == 1


@pytest.mark.slow
def test_reading_from_s3_takes_the_folder_and_not_its_namesakes(s3, tmp_path):
    """`log` is not `logs`; a bucket that is not there is one line."""
    with pytest.raises(InputError, match="s3://bucket/log: S3 answered NoSuchBucket"):
        read_exposures("s3://bucket/log")
    s3.create_bucket(Bucket="bucket")
    line = LineEncoder().encode(exposure(7)) + b"\n"
    for key in ("log/day=2026-01-01/a.jsonl", "logs/b.jsonl", "log/notes.txt"):
        s3.put_object(Bucket="bucket", Key=key, Body=line)
    assert read_exposures("s3://bucket/log").num_rows == 1
    assert read_exposures("s3://bucket/log/day=2026-01-01/a.jsonl").num_rows == 1
    assert read_exposures("s3://bucket").num_rows == 2


@pytest.mark.slow
def test_a_spool_that_is_full_stops_the_writing(s3, tmp_path):
    """The disk is not filled with what S3 does not take; the rest waits in memory and is dropped."""
    settings = {"spool": str(tmp_path), "rotate_mb": 0.001, "spool_mb": 0.005, "queue_rows": 20}
    with exposure_log("s3://bucket/log", **settings) as log:
        for number in range(300):
            log.put(exposure(number))
            time.sleep(0.002)
        wait_until(lambda: log.n_dropped > 0)
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 50_000
        s3.create_bucket(Bucket="bucket")
    assert accounted(log)
    assert read_exposures("s3://bucket/log").num_rows == log.n_written


# ---- settings


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A home and a folder for temporary files."""
    monkeypatch.setattr(settings_module.Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(settings_module.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    monkeypatch.setattr(settings_module.tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    settings_module.private_spool.cache_clear()
    yield tmp_path
    settings_module.private_spool.cache_clear()


def test_a_spool_is_private_and_the_same_after_a_restart(places):
    """In the user's home; two sinks have two."""
    first = ExposureSettings("s3://bucket/a").folder
    settings_module.private_spool.cache_clear()
    assert ExposureSettings("s3://bucket/a").folder == first != ExposureSettings("s3://b").folder
    assert first.is_relative_to(places / "home")
    assert first.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["open", "link"])
def test_a_spool_that_others_put_there_is_not_used(places, kind, caplog):
    """Without a home, the name among the temporary files can be guessed: what lies there must be ours alone."""
    (places / "home").write_text("in the way")
    guessed = ExposureSettings("s3://bucket/a").folder
    assert guessed.parent == places / "tmp"
    settings_module.private_spool.cache_clear()
    if kind == "open":
        guessed.chmod(0o777)
    else:
        guessed.rmdir()
        (places / "elsewhere").mkdir(mode=0o700)
        guessed.symlink_to(places / "elsewhere")
    found = ExposureSettings("s3://bucket/a").folder
    assert found != guessed
    assert found.stat().st_mode & 0o777 == 0o700
    assert "not used as a spool" in caplog.text


def test_a_bare_off_is_off():
    """YAML reads it as false."""
    assert ExposureSettings.from_mapping({"sink": False}).sink == "off"
    assert ExposureSettings.from_mapping({}).sink == "off"


BAD_SETTINGS = [
    ([], "expected a mapping"),
    ({"sinks": "off"}, "unknown key 'sinks'; known are sink, format"),
    ({"sink": True}, "sink must be off, stdout, a folder or s3"),
    ({"sink": ""}, "sink must be off"),
    ({"sink": "gs://bucket"}, "'gs://bucket' is no address"),
    ({"sink": "s3:///key"}, "is no address"),
    ({"sink": "x", "format": "csv"}, "format must be jsonl or parquet, found 'csv'"),
    ({"sink": "stdout", "format": "parquet"}, "standard output takes format jsonl only"),
    ({"rotate_mb": 0}, "rotate_mb must be a number above 0"),
    ({"rotate_s": "5m"}, "rotate_s must be a number above 0"),
    ({"queue_rows": True}, "queue_rows must be a number above 0"),
    ({"queue_rows": 1.5}, "queue_rows must be an integer"),
    ({"rotate_s": float("nan")}, "rotate_s must be a number above 0"),
    ({"redact": "device_id"}, "redact must be a list of field names"),
    ({"redact": [1]}, "redact must be a list of field names"),
    ({"spool": 1}, "spool must be a folder"),
]


@pytest.mark.parametrize(("raw", "named"), BAD_SETTINGS, ids=range(len(BAD_SETTINGS)))
def test_a_wrong_setting_is_said_in_one_line(raw, named):
    """The message names the key and what it may be."""
    with pytest.raises(ConfigError, match=named):
        ExposureSettings.from_mapping(raw)


def test_the_examples_of_the_docstrings_hold():
    """They are documentation that people copy."""
    assert doctest.testmod(record) == doctest.TestResults(0, 4)
