"""Which rows a model has learned, told by their number or their time."""

import pytest

from tasks.ingest import ingest_log
from tasks.logs.learned import last_moment, learned_rows, times_between, unlearned
from tasks.logs.log import Log
from tests.logs import SMALL, write_lines

HOUR = 3_600_000_000


def open_log(folder, hours):
    """Return a log of a row per hour, of one origin."""
    lines = [f"{n},{n % 2},141021{hour:02d},s{n},1" for n, hour in enumerate(hours)]
    ingest_log(str(write_lines(folder / "raw.csv", lines)), folder / "log", schema=SMALL)
    log = Log.open(folder / "log")
    log.manifest["origin"] = "here"
    return log


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Ten hours."""
    return open_log(tmp_path_factory.mktemp("old"), range(10))


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """The same and four more, a row of it twice."""
    return open_log(tmp_path_factory.mktemp("grown"), [*range(14), 5])


def note(log, *spans):
    """Return what the file of a model says that learned spans of a log."""
    moments = log.to_pandas(["hour"])["hour"].dt.tz_localize(None).to_numpy("datetime64[ms]")
    parts = [
        {
            "log_digest": log.digest,
            "span": (a, b),
            "times": times_between(moments[a], moments[b - 1]) if a < b else [],
        }
        for a, b in spans
    ]
    return {"origin": log.manifest["origin"], "learned": learned_rows(*parts)}


def test_rows_of_the_same_log_are_told_by_number(log):
    """Another split of it: the two that validated the champion are known to it."""
    info = note(log, (0, 6), (6, 8))
    assert unlearned(info, log, "hour", (6, 10)).tolist() == [False, False, True, True]
    assert unlearned(info, log, "hour", (8, 10)).all()
    assert not unlearned(info, log, "hour", (2, 5)).any()


def test_rows_of_a_log_that_grew_are_told_by_time(log, grown):
    """Whatever their number is now."""
    info = note(log, (0, 6), (6, 8))
    first, last = info["learned"]["times"][1]
    assert last - first == HOUR + 999
    assert unlearned(info, grown, "hour", (6, 12)).tolist() == [False] * 3 + [True] * 3
    assert last_moment(info) == info["learned"]["times"][1][1]


def test_rows_of_another_origin_are_other_rows(log, grown, monkeypatch):
    """The same hours of another customer."""
    monkeypatch.setitem(grown.manifest, "origin", "there")
    assert unlearned(note(log, (0, 10)), grown, "hour", (0, 5)).all()


def test_an_older_file_is_read_as_far_as_it_goes(log, grown):
    """It counts the rows of its log; of another log nothing can be told."""
    old = {"log_digest": log.digest, "rows": 8}
    assert unlearned(old, log, "hour", (7, 10)).tolist() == [False, True, True]
    assert unlearned(old, grown, "hour", (7, 10)) is None
    assert unlearned({}, log, "hour", (7, 10)) is None
    assert last_moment(old) is None


def test_rows_without_times_cannot_be_told_from_another_version(log, grown, monkeypatch):
    """Their time is their number, which says nothing of another file."""
    monkeypatch.setitem(grown.manifest, "has_time", False)
    assert unlearned(note(log, (0, 8)), grown, "hour", (7, 10)) is None


def test_no_rows_have_no_times(log):
    """A model that learned none is newer than nothing."""
    assert last_moment(note(log, (3, 3))) is None
