"""A small log of a single hour, as CSV."""

import pytest

from bench.data import _write_csv
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.schema import load_schema


@pytest.fixture
def make_csv_of_one_hour(tmp_path):
    """Return the path of a CSV with 600 rows of one hour."""
    schema = load_schema("avazu")
    ingest_log("sim://avazu?rows=600&seed=7", tmp_path / "source", schema=schema)
    whole, path = tmp_path / "whole.csv", tmp_path / "hour.csv"
    _write_csv(Log.open(tmp_path / "source"), schema, whole, 0, 600)
    header, *lines = whole.read_text().splitlines()
    place = header.split(",").index("hour")
    rows = [line.split(",") for line in lines]
    text = [",".join([*row[:place], "14102100", *row[place + 1 :]]) for row in rows]
    path.write_text("\n".join([header, *text]) + "\n")
    return path
