"""The canonical log as its readers see it."""

from datetime import UTC, date, datetime

import pytest

from tasks.errors import InputError
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tests.logs import OTHER_TEAM, SMALL, hours_of, read_all, rows, write_lines


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Three days, 300 rows, several row groups."""
    folder = tmp_path_factory.mktemp("log")
    source = write_lines(folder / "raw.csv", rows(300, hours=hours_of(3)))
    ingest_log(str(source), folder / "log", schema=SMALL, block_bytes=700)
    return Log.open(folder / "log")


def test_the_manifest_tells_what_is_in_it(log):
    """Rows, clicks, span and days, without reading a row."""
    assert (log.n_rows, log.ctr) == (300, pytest.approx(1 / 3))
    assert log.time_span == (
        datetime(2014, 10, 21, tzinfo=UTC),
        datetime(2014, 10, 23, 23, tzinfo=UTC),
    )
    assert log.rows_by_day == {date(2014, 10, day): 100 for day in (21, 22, 23)}
    assert sum(log.rows_by_hour.values()) == 300 and len(log.rows_by_hour) == 72


@pytest.mark.parametrize("span", [(0, 300), (0, 1), (99, 101), (150, 150), (250, 999), (299, 300)])
@pytest.mark.parametrize("batch_rows", [7, 1000])
def test_any_span_of_rows_can_be_read(log, span, batch_rows):
    """Spans cross days and batches; nothing is lost or doubled at the edges."""
    found = [
        row
        for batch in log.batches(columns=["id"], start=span[0], stop=span[1], batch_rows=batch_rows)
        for row in batch.to_pylist()
    ]
    assert [row["id"] for row in found] == [
        str(number) for number in range(span[0], min(span[1], 300))
    ]


def test_columns_come_in_the_order_asked_for(log):
    """Callers address them by place."""
    batch = next(log.batches(columns=["pos", "click"]))
    assert batch.schema.names == ["pos", "click"]


def test_an_unknown_column_is_named(log):
    """The message lists what there is."""
    with pytest.raises(InputError, match="no column 'nope'; it has id, click, hour, site, pos"):
        list(log.batches(columns=["nope"]))


def test_a_frame_has_categories_and_utc_times(log):
    """What the notebooks work on; an empty span keeps the columns."""
    frame = log.to_pandas(["site", "hour", "click"], 95, 105)
    assert frame["site"].dtype == "category" and str(frame["hour"].dtype) == "datetime64[us, UTC]"
    assert frame["click"].tolist() == [int(number % 3 == 0) for number in range(95, 105)]
    assert list(log.to_pandas(["site", "click"], 5, 5).columns) == ["site", "click"]


def test_a_row_can_be_asked_for_as_a_request_would_carry_it(log):
    """Text of the time as in the raw log, fields as text, no label and no id."""
    assert log.raw_row(299, SMALL) == {"hour": "14102323", "site": "s5", "pos": "3"}
    with pytest.raises(InputError, match="rows 0 to 299"):
        log.raw_row(300, SMALL)


def test_an_iso_time_comes_back_as_iso(tmp_path):
    """Sub-seconds and zones survive as UTC."""
    lines = ["2024-02-29T23:59:59.250+01:00,1,a,x", "2024-03-01T00:00:00Z,0,b,y"]
    source = write_lines(tmp_path / "raw.csv", lines, header="at,tapped,slot,os")
    ingest_log(str(source), tmp_path / "log", schema=OTHER_TEAM)
    assert (
        Log.open(tmp_path / "log").raw_row(0, OTHER_TEAM)["at"]
        == "2024-02-29T22:59:59.250000+00:00"
    )


def test_a_folder_without_a_manifest_is_no_log(tmp_path):
    """The manifest is written last, so this is what a partial log looks like."""
    with pytest.raises(InputError, match="no complete log; run the task `ingest`"):
        Log.open(tmp_path)


def test_a_log_that_lost_a_file_is_refused(tmp_path):
    """Deleting a day by hand is noticed."""
    source = write_lines(tmp_path / "raw.csv", rows(30, hours=hours_of(3)))
    ingest_log(str(source), tmp_path / "log", schema=SMALL)
    (tmp_path / "log" / "day=2014-10-22" / "part-0.parquet").unlink()
    with pytest.raises(InputError, match=r"day=2014-10-22/part-0\.parquet is missing"):
        Log.open(tmp_path / "log")


def test_a_missing_value_is_null(tmp_path):
    """An empty text in a CSV says that there is none."""
    source = write_lines(tmp_path / "raw.csv", ["1,0,14102100,,1", "2,1,14102100,a,"])
    ingest_log(str(source), tmp_path / "log", schema=SMALL)
    assert [(row["site"], row["pos"]) for row in read_all(tmp_path / "log")] == [
        (None, "1"),
        ("a", None),
    ]
