"""What the explore notebook shows, on rows counted by hand."""

import numpy as np
import pandas as pd
import pytest

from tasks.errors import InputError
from tasks.ingest import ingest_log
from tasks.logs.exploration import ctr_table, field_table, novelty_table, sample, wilson_interval
from tasks.schema import Schema
from tests.logs import SMALL, rows, write_lines

SCHEMA = Schema.from_dict(
    {
        "name": "tiny",
        "label": "click",
        "time": {"column": "at", "format": "iso"},
        "fields": {"page": {"missing": "none"}, "campaign": {}},
    }
)


@pytest.fixture
def frame():
    """Six rows over three days; page is missing twice."""
    return pd.DataFrame(
        {
            "click": [1, 0, 0, 1, 1, 0],
            "page": pd.Categorical(["a", None, "a", None, "b", "a"]),
            "campaign": pd.Categorical(["x", "x", "y", "x", "z", "z"]),
            "day": [1, 1, 2, 2, 3, 3],
        }
    )


def test_rates_and_shares_are_those_of_the_rows(frame):
    """Impressions, share and click rate of each group."""
    table = ctr_table(frame, "campaign", label="click")
    assert table["n_rows"].to_dict() == {"x": 3, "y": 1, "z": 2}
    assert table["ctr"].round(3).to_dict() == {"x": 0.667, "y": 0.0, "z": 0.5}
    assert table["share"].sum() == pytest.approx(1)


def test_wilson_interval_is_scipys():
    """The interval agrees with SciPy's, at the ends too."""
    from scipy.stats import binomtest

    clicks, rows = np.array([0, 3, 17, 40]), np.array([10, 10, 100, 40])
    low, high = wilson_interval(clicks, rows)
    for k, n, begin, end in zip(clicks, rows, low, high, strict=True):
        expected = binomtest(int(k), int(n)).proportion_ci(0.95, method="wilson")
        assert (begin, end) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_missing_counts_nulls(frame):
    """A value that is missing is null in the log, whatever stood for it in the raw one."""
    table = field_table(frame, SCHEMA)
    assert table.loc["page", "missing_share"] == pytest.approx(2 / 6)
    assert table["n_distinct"].to_dict() == {"page": 2, "campaign": 3}


def test_novelty_counts_rows_whose_value_no_earlier_day_had(frame):
    """y is new on day 2 (one of two rows), z on day 3 (both rows); x on day 2 is not."""
    table = novelty_table(frame, SCHEMA)
    assert table.loc["campaign"].to_dict() == {2: 0.5, 3: 1.0}


def test_one_day_says_nothing_about_tomorrow(frame):
    """There is no earlier day to compare with."""
    assert novelty_table(frame[frame["day"] == 1], SCHEMA).empty


def test_a_sample_of_a_log_is_one_call(tmp_path, monkeypatch):
    """Every k-th row with all columns, from a path relative to the project, wherever the notebook lies."""
    (tmp_path / "pipeline.yaml").touch()
    (tmp_path / "notebooks").mkdir()
    source = write_lines(tmp_path / "raw.csv", rows(30, hours=("14102100", "14102205")))
    ingest_log(str(source), tmp_path / "products/log", schema=SMALL)
    monkeypatch.chdir(tmp_path / "notebooks")
    whole, tenth = sample(), sample("products/log", max_rows=3)
    assert list(whole.columns) == ["id", "click", "hour", "site", "pos", "hour_of_day", "day"]
    assert len(whole) == 30
    assert list(tenth["id"]) == list(whole["id"][::10])
    assert set(whole["hour_of_day"]) == {0, 5}


def test_a_sample_of_no_log_says_what_to_do(tmp_path, monkeypatch):
    """Before the first run there is none."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="run the task `ingest`"):
        sample()
