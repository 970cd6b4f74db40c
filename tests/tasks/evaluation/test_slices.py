"""Parts of the traffic: which rows belong to them, and the metrics of each."""

import numpy as np
import pytest

from tasks.evaluation import metrics
from tasks.evaluation.slices import _COLUMNS, slice_labels, slice_table
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.schema import Schema
from tests.logs import SMALL, write_lines

SLICES = [
    {"name": "hour", "field": "hour_of_day"},
    {"name": "place", "field": "pos"},
    {"name": "known site", "field": "site", "missing": "no site", "other": "with site"},
    {"name": "new site", "field": "site", "seen": True},
    {"name": "new hour", "field": "hour_of_day", "seen": True},
]
SCHEMA = Schema.from_dict(SMALL.to_dict() | {"slices": SLICES})


@pytest.fixture
def log(tmp_path):
    """Two rows to train on and three to test."""
    lines = [
        "1,0,14102105,a,1",
        "2,1,14102106,none,1",
        "3,0,14102205,a,1",
        "4,1,14102206,b,2",
        "5,0,14102210,,2",
    ]
    ingest_log(str(write_lines(tmp_path / "raw.csv", lines)), tmp_path / "log", schema=SCHEMA)
    return Log.open(tmp_path / "log")


def test_rows_belong_to_the_parts_that_the_schema_declares(log):
    """By hand: a feature, a field, its missing values, and what training has not seen."""
    labels = slice_labels(log, SCHEMA, span=(2, 5), learned_span=(0, 2))
    assert {name: values.tolist() for name, values in labels.items()} == {
        "hour": ["05", "06", "10"],
        "place": ["1", "2", "2"],
        "known site": ["with site", "with site", "no site"],
        "new site": ["seen before", "unseen", "seen before"],  # nothing was seen before, too
        "new hour": ["seen before", "seen before", "unseen"],
    }


def test_rare_values_are_one_part(tmp_path):
    """A table of a thousand sites tells nobody anything; the frequent ones keep their names."""
    sites = [f"s{n}" for n in range(24) for _ in range(2)] + ["rare1", "rare2"]
    lines = [f"{n},{n % 2},14102100,{site},1" for n, site in enumerate(sites)]
    schema = Schema.from_dict(SMALL.to_dict() | {"slices": [{"name": "site", "field": "site"}]})
    ingest_log(str(write_lines(tmp_path / "raw.csv", lines)), tmp_path / "log", schema=schema)
    log = Log.open(tmp_path / "log")
    labels = slice_labels(log, schema, span=(0, 50), learned_span=(0, 50))["site"].tolist()
    assert labels.count("(other)") == 2
    assert len(set(labels)) == 25


def test_a_table_has_the_metrics_of_the_rows_of_each_part():
    """As if the part were all there is."""
    y_true, p_click = np.array([0.0, 1, 0, 1]), np.array([0.1, 0.8, 0.3, 0.4])
    labels = {"place": np.array(["x", "y", "x", "y"], dtype=object)}
    table = slice_table("ftrl", y_true, p_click, labels).set_index("value")
    assert set(table["model"]) == {"ftrl"} and set(table["slice"]) == {"place"}
    assert table["n_rows"].to_dict() == {"x": 2, "y": 2}
    assert table.loc["y", "log_loss"] == pytest.approx(metrics.log_loss([1, 1], [0.8, 0.4]))
    assert table.loc["y", "calibration_ratio"] == pytest.approx(0.6)


def test_a_schema_without_slices_has_an_empty_table():
    """With the columns that gates read."""
    table = slice_table("ftrl", np.array([0.0, 1]), np.array([0.1, 0.8]), {})
    assert table.empty
    assert list(table.columns) == ["model", *_COLUMNS]
