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


BIDS = Schema.from_dict(
    {
        "name": "bids",
        "label": "click",
        "time": {"column": "ts", "format": "epoch"},
        "fields": {
            "pos": {"from": "imp[0].banner.pos"},
            "cats": {"type": "list", "from": "site.cat"},
            "floor": {"type": "number", "from": "imp[0].bidfloor"},
            "os": {"from": "device.os"},
        },
    }
)


def test_a_stream_of_bid_requests_is_read_by_its_paths(tmp_path):
    """As `/predict` reads one: a flat name counts first, what leads nowhere is missing, and is noted if it always is."""
    first = {"banner": {"pos": 3}, "bidfloor": 0.25}
    rows = [
        {"ts": 1_714_521_600, "click": 1, "imp": [first, {}], "site": {"cat": ["IAB1", "IAB2"]}},
        {"ts": 1_714_521_601, "click": 0, "imp": [], "site": {"cat": "IAB1"}},
        {"ts": 1_714_521_602, "click": 0, "pos": 7, "imp": [first], "site": None},
    ]
    (tmp_path / "bids.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ingest_log(str(tmp_path / "bids.jsonl"), tmp_path / "log", schema=BIDS)
    found = read_all(tmp_path / "log")
    assert [row["pos"] for row in found] == ["3", None, "7"]
    assert [row["cats"] for row in found] == ["IAB1\x1fIAB2", "IAB1", None]
    assert [row["floor"] for row in found] == [0.25, None, 0.25]
    assert [row["os"] for row in found] == [None] * 3
    notes = json.loads((tmp_path / "log" / "manifest.json").read_text())["notes"]
    assert any("device.os leads nowhere" in note and "os is missing" in note for note in notes)


def test_a_line_nested_without_end_is_quarantined(tmp_path):
    """It costs a line, not the run."""
    lines = [json.dumps(ROW), json.dumps(ROW | {"click": 0}), '{"page": ' * 100_000]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    ingest_log(str(tmp_path / "a.jsonl"), tmp_path / "log", schema=SCHEMA, max_bad_share=0.9)
    (bad,) = pq.read_table(tmp_path / "log" / "quarantine.parquet").to_pylist()
    assert (bad["row"], bad["reason"]) == (3, "not a JSON object")


@pytest.mark.parametrize("page", [b'"\\ud800"', b'"\\uDfff x"', b'"\xed\xa0\x80"', b'"\xff"'])
def test_what_is_no_text_costs_its_line(page, tmp_path):
    """Half a surrogate pair, escaped or as bytes, and what is not UTF-8; a whole pair is a letter."""
    good = [json.dumps(ROW), json.dumps(ROW | {"click": 0, "page": "\U0001f600"})]
    lines = [
        *(line.encode() for line in good),
        b'{"ts": 1714521600, "click": 0, "page": ' + page + b"}",
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines))
    ingest_log(str(tmp_path / "a.jsonl"), tmp_path / "log", schema=SCHEMA, max_bad_share=0.9)
    (bad,) = pq.read_table(tmp_path / "log" / "quarantine.parquet").to_pylist()
    assert (bad["row"], bad["reason"]) == (3, "not a JSON object")
    assert {row["page"] for row in read_all(tmp_path / "log")} == {"a", "\U0001f600"}


def test_a_thousand_unnamed_keys_are_a_short_note(tmp_path):
    """The manifest says that they were ignored, not all of their names."""
    rows = [ROW | {f"user {n}": n for n in range(1000)}, ROW | {"click": 0}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ingest_log(str(tmp_path / "a.jsonl"), tmp_path / "log", schema=SCHEMA)
    (note,) = json.loads((tmp_path / "log" / "manifest.json").read_text())["notes"]
    assert note.endswith("and 980 more") and len(note) < 400
