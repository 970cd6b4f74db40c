"""The click log in its three forms; what is no click is counted."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import InputError
from tasks.monitoring.clicks import read_clicks

MOMENT = datetime(2026, 3, 1, 8, 0, 1, 500_000, UTC)
EXPECTED = [("r1", 2, MOMENT), ("r2", 0, MOMENT)]


def found(path):
    """Return the clicks of a file as tuples, and the number of unreadable records."""
    clicks = read_clicks(str(path))
    return [tuple(row.values()) for row in clicks.table.to_pylist()], clicks.n_unreadable


def test_json_lines(tmp_path):
    """A position may be left out or null; a cut line and one without an id or a time are counted."""
    lines = [
        {"request_id": "r1", "position": 2, "clicked_utc": "2026-03-01T08:00:01.5Z", "x": 1},
        {"request_id": "r2", "position": None, "clicked_utc": "2026-03-01T08:00:01.500000+00:00"},
        {"request_id": "", "clicked_utc": "2026-03-01T08:00:01Z"},
        {"request_id": "r3", "clicked_utc": "yesterday"},
        {"request_id": "r4", "clicked_utc": "2026-13-01T08:00:01"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "a.jsonl").write_text(text + '{"request_id": "r5", "clicked_')
    assert found(tmp_path / "a.jsonl") == (EXPECTED, 4)


def test_csv(tmp_path):
    """Columns in any order; a row with too many values and a cut last line are counted."""
    text = (
        "clicked_utc,request_id,position\n2026-03-01 08:00:01.5,r1,2\n2026-03-01T08:00:01.5Z,r2,\n"
    )
    text += "2026-03-01T08:00:01Z,r3,0,9\n2026-03-01T08:00:01Z,r4,-1\n2026-03-01T08"
    (tmp_path / "a.csv").write_text(text)
    assert found(tmp_path / "a.csv") == (EXPECTED, 3)


@pytest.mark.parametrize("kind", [pa.timestamp("us", tz="UTC"), pa.float64()])
def test_parquet_and_seconds_since_1970(tmp_path, kind):
    """Timestamps, or numbers of seconds."""
    moment = MOMENT if pa.types.is_timestamp(kind) else MOMENT.timestamp()
    columns = {
        "request_id": ["r1", "r2"],
        "position": [2, 0],
        "clicked_utc": pa.array([moment] * 2, kind),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert found(tmp_path / "a.parquet") == (EXPECTED, 0)


def test_an_empty_file_has_no_clicks_and_another_log_is_refused(tmp_path):
    """In one line that names the file."""
    (tmp_path / "a.jsonl").write_text("")
    (tmp_path / "b.jsonl").write_text('{"user": 1}\n')
    assert found(tmp_path / "a.jsonl") == ([], 0)
    with pytest.raises(InputError, match=r"b.jsonl: no click log with request_id"):
        read_clicks(str(tmp_path / "b.jsonl"))
