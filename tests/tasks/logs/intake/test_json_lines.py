"""JSON lines: values as a request would send them, and lines that are no rows."""

import json

import pyarrow.parquet as pq
import pytest

from tasks.errors import InputError
from tasks.ingest import ingest_log
from tasks.schema import Schema
from tests.logs import read_all

SCHEMA = Schema.from_dict(
    {
        "name": "x",
        "label": "click",
        "time": {"column": "ts", "format": "epoch"},
        "fields": {"page": {}, "floor": {"type": "number"}, "tags": {"type": "list"}},
    }
)
ROW = {
    "ts": 1_714_521_600,
    "click": True,
    "page": "a",
    "floor": 1.5,
    "tags": ["x|y", "b", "b", None],
}


def test_values_are_those_of_a_request(tmp_path):
    """Numbers, lists, a key that is missing; a line longer than any block."""
    rows = [ROW, {"ts": 1_714_521_601, "click": 0, "page": 7.0}, ROW | {"page": "x" * 5000}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ingest_log(str(tmp_path / "a.jsonl"), tmp_path / "log", schema=SCHEMA, block_bytes=1000)
    found = read_all(tmp_path / "log")
    assert [row["page"] for row in found] == ["a", "x" * 5000, "7"]
    assert [row["floor"] for row in found] == [1.5, 1.5, None]
    assert [row["tags"] for row in found] == ["x|y\x1fb", "x|y\x1fb", None]


def test_a_line_that_is_no_row_is_quarantined(tmp_path):
    """With its number and reason."""
    lines = [json.dumps(ROW), json.dumps(ROW | {"click": 0}), "{", "[1]", json.dumps(ROW | {"page": {"a": 1}})]  # fmt: skip
    (tmp_path / "a.ndjson").write_text("\n".join(lines))
    ingest_log(str(tmp_path / "a.ndjson"), tmp_path / "log", schema=SCHEMA, max_bad_share=0.9)
    bad = pq.read_table(tmp_path / "log" / "quarantine.parquet").to_pylist()
    assert [(row["row"], row["reason"]) for row in bad] == [
        (3, "not a JSON object"),
        (4, "not a JSON object"),
        (5, "value is an object or a list"),
    ]


@pytest.mark.parametrize(
    ("text", "said"), [("[1]\n[2]", "no JSON object"), ('{"a": 1}', "missing columns")]
)
def test_other_content_is_one_line(text, said, tmp_path):
    """The file is named."""
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(InputError, match=said):
        ingest_log(str(tmp_path / "a.jsonl"), tmp_path / "log", schema=SCHEMA)
