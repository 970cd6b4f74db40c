"""Labels in words and counts, and weights: which rows the log has, and for how many impressions they stand."""

import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import InputError
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.schema import Schema
from tasks.validate import check_log
from tests.logs import read_all

BASE = {
    "name": "x",
    "label": "click",
    "time": {"column": "ts", "format": "iso"},
    "fields": {"page": {}},
}


def ingested(folder, columns: dict, **declared) -> tuple[dict, list[tuple]]:
    """Return the manifest, and label and weight of each row of the log."""
    n_rows = len(next(iter(columns.values())))
    columns = {
        "ts": [f"2024-05-01 00:00:{n:02d}" for n in range(n_rows)],
        "page": ["a"] * n_rows,
    } | columns
    pq.write_table(pa.table(columns), folder / "a.parquet")
    schema = Schema.from_dict(BASE | declared)
    found = ingest_log(str(folder / "a.parquet"), folder / "log", schema=schema, max_bad_share=0.6)
    assert check_log(Log.open(folder / "log"), schema, {"max_missing_hours_share": 1}).passed
    label, weight = schema.label, schema.weight_column
    return found, [(row[label], row.get(weight)) for row in read_all(folder / "log")]


@pytest.mark.parametrize(
    "values",
    [[1, 0, 1], [1.0, 0.0, 1.0], [True, False, True], ["TRUE", "FALSE", " True"], ["1.00", "0.0", "1"], [Decimal("1.00"), Decimal("0.00"), Decimal("1.00")]],
    ids=lambda values: type(values[0]).__name__,
)  # fmt: skip
def test_numbers_and_booleans_need_no_words(values, tmp_path):
    """However they are written."""
    assert ingested(tmp_path, {"click": values})[1] == [(1, None), (0, None), (1, None)]


@pytest.mark.parametrize(
    ("label", "labels", "n_bad"),
    [({"click": [1], "no_click": [-1]}, [1, 0], 2), ({"click": ["1"]}, [1, 0, 0], 1), ({"no_click": [-1.0]}, [1, 0, 1], 1), ({"click": ["VIEW", 1], "no_click": [-1, ""]}, [1, 0, 1, 0], 0)],
)  # fmt: skip
def test_words_mean_clicks(label, labels, n_bad, tmp_path):
    """With one side declared, the other is every other value; nothing is no value unless it is declared."""
    found, rows = ingested(
        tmp_path, {"click": ["1.0", "-1", "VIEW", None]}, label={"column": "click"} | label
    )
    assert [one for one, _ in rows] == labels
    assert found["n_quarantined"] == n_bad


def test_an_unknown_label_is_told_how_to_declare_it(tmp_path):
    """Every row is bad; the line names the key."""
    with pytest.raises(InputError, match=r"label: \{column: .*, click: \[...\], no_click"):
        ingested(tmp_path, {"click": ["yes", "no", "no"]})


def test_counts_become_weighted_rows(tmp_path):
    """Clicks and other impressions are rows of their own; counts that are none are bad rows."""
    columns = {"click": [2, 0, 3, 4, 1], "shown": [10, 5, 3, 3, 0]}
    found, rows = ingested(tmp_path, columns, label={"column": "click", "impressions": "shown"})
    assert rows == [(1, 2.0), (0, 8.0), (0, 5.0), (1, 3.0)]
    assert (found["n_rows_in"], found["n_rows"], found["n_quarantined"]) == (5, 4, 2)
    assert (found["n_clicks"], found["weight"], found["weight_clicks"]) == (2, 18.0, 5.0)
    assert Log.open(tmp_path / "log").ctr == pytest.approx(5 / 18)


def test_counts_of_one_id_are_no_duplicates(tmp_path):
    """A repeated id still is one."""
    columns = {"click": [2, 1, 1], "shown": [10, 5, 5], "id": ["a", "b", "b"]}
    found, rows = ingested(
        tmp_path, columns, id="id", label={"column": "click", "impressions": "shown"}
    )
    assert (rows, found["quarantine"]) == (
        [(1, 2.0), (0, 8.0), (1, 1.0), (0, 4.0)],
        {"duplicate id": 2},
    )


def test_weights_are_positive_numbers(tmp_path):
    """A non-click of a log that holds one in ten stands for ten; other weights are bad rows."""
    columns = {"click": [1, 0, 0, 1, 0], "n": ["2", "3.5", "0", "inf", None]}
    label = {"column": "click", "no_click_rate": 0.1}
    found, rows = ingested(tmp_path, columns, label=label, weight="n")
    assert rows == [(1, 2.0), (0, 35.0)]
    assert found["quarantine"] == {"weight is not a positive number": 3}


def test_without_a_time_rows_keep_their_order(tmp_path):
    """One microsecond apart, over batches."""
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"click": n % 3 == 0, "page": f"p{n}"}) + "\n" for n in range(50))
    )
    schema = Schema.from_dict({key: value for key, value in BASE.items() if key != "time"})
    ingest_log(str(tmp_path / "a.jsonl"), tmp_path / "log", schema=schema, block_bytes=100)
    assert [row["page"] for row in read_all(tmp_path / "log")] == [f"p{n}" for n in range(50)]
    assert Log.open(tmp_path / "log").manifest["has_time"] is False
