"""Further columns of the simulated log: their values, and the effects that they truly have."""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tasks.simulation.extras import IMPRESSIONS, LIST, MAX_TAGS, NUMBERS, Extras, number_effect
from tasks.simulation.simulate import simulate_batches, write_csv

N_ROWS = 60_000
ALL = {"numbers": 3, "lists": 1, "impressions": 5}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """A log with all further columns, at a click rate of 5%."""
    return pa.Table.from_batches(simulate_batches(N_ROWS, ctr=0.05, **ALL)).to_pandas()


def test_the_log_keeps_its_click_rate(frame):
    """Clicks among impressions, and the mean of the true probabilities."""
    assert frame["p_true"].mean() == pytest.approx(0.05, rel=0.04)
    assert frame["click"].sum() / frame[IMPRESSIONS].sum() == pytest.approx(0.05, rel=0.06)
    assert (frame["click"] <= frame[IMPRESSIONS]).all()
    assert set(frame[IMPRESSIONS]) == {1, 2, 3, 4, 5}


def test_numbers_have_their_effects(frame):
    """The first rises, the second is best in the middle, the third steps; some are missing."""
    for number, name in enumerate(NUMBERS):
        values = frame[name]
        assert values.isna().mean() == pytest.approx(0.05, abs=0.01)
        parts = pd.qcut(values, 5, labels=False)
        low, _, middle, _, high = frame.groupby(parts)["p_true"].mean()
        assert (high > 1.5 * low, middle > 1.5 * high, high > 1.5 * middle)[number]


def test_effects_are_what_the_documentation_says():
    """By hand, at the mean and one standard deviation above."""
    z = np.array([0.0, 1.0])
    assert [number_effect(number, z).tolist() for number in range(3)] == [[0, 0.7], [0.5, 0], [-0.4, 0.9]]  # fmt: skip


def test_tags_are_different_and_differ_in_effect(frame):
    """At most five in a row; none is null."""
    tags = frame[LIST].dropna().str.split("|")
    assert tags.map(len).max() == MAX_TAGS
    assert all(len(set(one)) == len(one) for one in tags.head(500))
    assert frame[LIST].isna().mean() == pytest.approx(1 / 6, abs=0.01)
    by_tag = frame.loc[tags.index, "p_true"].groupby(level=0).first()
    rates = by_tag.reindex(tags.explode().index).groupby(tags.explode().to_numpy()).mean()
    assert len(rates) == 40
    assert rates.max() > 1.5 * rates.min()


def test_columns_do_not_depend_on_the_batches():
    """As those of the log itself."""
    one = pa.Table.from_batches(simulate_batches(3000, batch_rows=3000, **ALL))
    other = pa.Table.from_batches(simulate_batches(3000, batch_rows=700, **ALL))
    assert one.column("p_true").equals(other.column("p_true"))
    assert one.column(LIST).to_pylist() == other.column(LIST).to_pylist()


def test_a_log_with_further_columns_is_written_as_csv():
    """With their names in the header."""
    out = io.BytesIO()
    write_csv(out, 50, **ALL)
    frame = pd.read_csv(io.BytesIO(out.getvalue()))
    assert list(frame.columns[-5:]) == [*NUMBERS, LIST, IMPRESSIONS]
    assert len(frame) == 50


def test_without_further_columns_there_is_nothing_to_add():
    """The log of Avazu's shape stays what it is."""
    columns, effect = Extras(seed=1).draw(5, 0)
    assert columns == {} and not effect.any()
