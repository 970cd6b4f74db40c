"""What each field is worth alone: by hand, and in the cases where nothing can be said."""

import numpy as np
import pandas as pd
import pytest

from tasks.evaluation.metrics import log_loss
from tasks.logs.field_gain import field_gain
from tasks.schema import Schema

SCHEMA = Schema.from_dict(
    {
        "name": "small",
        "label": "click",
        "time": {"column": "t", "format": "iso"},
        "fields": {"site": {}, "id": {}},
    }
)


@pytest.fixture
def frame():
    rng = np.random.default_rng(1)
    site = rng.choice(["good", "bad"], 2000)
    click = (rng.random(2000) < np.where(site == "good", 0.6, 0.1)).astype(int)
    return pd.DataFrame({"click": click, "site": pd.Categorical(site), "id": np.arange(2000)})


def test_a_field_that_decides_ranks_above_an_identifier(frame):
    """Values never seen before predict the overall rate, so an identifier gains exactly nothing."""
    table = field_gain(frame, SCHEMA)
    assert table.index.tolist() == ["site", "id"]
    assert table.loc["site", "gain"] > 0.1
    assert table.loc["id", "gain"] == pytest.approx(0, abs=1e-12)


def test_the_gain_by_hand(frame):
    """Smoothed rates of the first rows, judged on the last, against the overall rate."""
    early, late = frame.head(1600), frame.tail(400)
    base = (early["click"].sum() + 0.5) / 1601
    rates = {
        site: (rows["click"].sum() + 20 * base) / (len(rows) + 20)
        for site, rows in early.groupby("site", observed=True)
    }
    without = log_loss(late["click"], np.full(400, base))
    expected = without - log_loss(late["click"], late["site"].astype(str).map(rates))
    row = field_gain(frame, SCHEMA).loc["site"]
    assert row["gain"] == pytest.approx(expected, rel=1e-12)
    assert row["share"] == pytest.approx(expected / without, rel=1e-12)


def test_missing_values_are_a_value(frame):
    """A field that is missing where people click tells just that."""
    hidden = frame.assign(site=frame["site"].where(frame["site"] == "good"))
    table = field_gain(hidden, SCHEMA)
    assert table.loc["site", "gain"] == pytest.approx(field_gain(frame, SCHEMA).loc["site", "gain"])


@pytest.mark.parametrize("n_rows", [0, 1])
def test_too_few_rows_say_nothing(frame, n_rows):
    """NaN, not an error."""
    assert field_gain(frame.head(n_rows), SCHEMA).isna().all(axis=None)


def test_rows_of_one_class_are_judged_too(frame):
    """The first rows may hold no click at all."""
    table = field_gain(frame.assign(click=0), SCHEMA)
    assert np.isfinite(table["gain"]).all()
