"""Columns of any type to canonical values."""

import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import InputError
from tasks.ingest import ingest_log
from tasks.logs.intake.values import floats
from tasks.schema import Schema
from tests.logs import read_all

BASE = {"name": "x", "label": "click", "fields": {"a": {}}}


def ingested(folder, column, **declared) -> tuple[list, dict]:
    """Return the values of the field in the log, and the manifest."""
    pq.write_table(pa.table({"click": [0, 1, 0], "a": column}), folder / "a.parquet")
    schema = Schema.from_dict(BASE | declared)
    found = ingest_log(str(folder / "a.parquet"), folder / "log", schema=schema, max_bad_share=0.4)
    return [row["a"] for row in read_all(folder / "log")], found


def test_lists_of_parquet_are_list_fields(tmp_path):
    """Items of any type, each once; an empty list, a null and a list of nothing are missing."""
    field = {"fields": {"a": {"type": "list", "missing": "0"}}}
    values, _ = ingested(tmp_path, pa.array([[3, 1, 3, None, 0], [], None]), **field)
    assert values == ["3\x1f1", None, None]


@pytest.mark.parametrize(
    ("column", "said"),
    [(pa.array([{"b": 1}] * 3), "struct<"), (pa.array([[("k", 1)]] * 3, pa.map_(pa.string(), pa.int64())), "map<"), (pa.array(np.ones(3, np.float16)), "halffloat"), (pa.array([b"\xff"] * 3), "binary"), (pa.array([["b"]] * 3), "declare the field with `type: list`")],
)  # fmt: skip
def test_other_types_are_one_line(column, said, tmp_path):
    """The column and its type are named."""
    with pytest.raises(InputError, match=r"column 'a' has the type") as caught:
        ingested(tmp_path, column)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "texts"),
    [([Decimal("1.50"), Decimal("100.00"), None], ["1.5", "100", None]), ([datetime.date(2024, 5, 1)] * 3, ["2024-05-01"] * 3), (pa.array([b"x", b"y", b""]), ["x", "y", None])],
)  # fmt: skip
def test_other_types_have_the_text_of_a_request(column, texts, tmp_path):
    """A decimal is its shortest text."""
    assert ingested(tmp_path, column)[0] == texts


def test_blanks_are_taken_off_with_a_note(tmp_path):
    """Unless the schema keeps them."""
    values, found = ingested(tmp_path, [" a", "a", "  "], missing=["-"])
    assert values == ["a", "a", None]
    assert found["notes"] == [
        "blanks around values were taken off (a); `keep_spaces: true` in the schema keeps them"
    ]
    values, found = ingested(tmp_path, [" a", "a", "-"], missing=["-"], keep_spaces=True)
    assert (values, found["notes"]) == ([" a", "a", None], [])


def test_numbers_are_floats_and_other_text_a_bad_row(tmp_path):
    """Missing is null."""
    field = {"fields": {"a": {"type": "number", "missing": "-1"}}}
    values, found = ingested(tmp_path, ["1.5", "-1", "x"], **field)
    assert (values, found["quarantine"]) == ([1.5, None], {"a is not a number": 1})


def test_a_row_that_breaks_a_pattern_is_a_bad_row(tmp_path):
    """As a whole; a missing value breaks none, and of a list each item counts."""
    field = {"fields": {"a": {"pattern": "[0-9]", "missing": "none"}}}
    values, found = ingested(tmp_path, ["1", "none", "12"], **field)
    assert (values, found["quarantine"]) == (["1", None], {"a does not match its pattern": 1})
    field = {"fields": {"a": {"pattern": "[0-9]", "type": "list"}}}
    assert ingested(tmp_path, ["1|2", "3", "3|x"], **field)[0] == ["1\x1f2", "3"]


def test_a_weight_is_the_same_number_by_every_door():
    """A float32 is its shortest decimal, as text holds it."""
    by_type = floats(pa.array([0.1, 2.5, None], pa.float32()), "w", "a.parquet")
    by_text = floats(pa.array(["0.1", "2.5", None]), "w", "a.csv")
    np.testing.assert_array_equal(by_type, by_text)
