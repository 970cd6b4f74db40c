"""A table of the past answers for each day with the days before it, and nothing else."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.features.kinds.past import Past

DAY_0 = datetime(1970, 1, 1, tzinfo=UTC)
tables = st.dictionaries(
    st.sampled_from(["", "a", "ü", "b"]),
    st.dictionaries(
        st.integers(-3, 20),
        st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda two: (max(two), min(two))),
        min_size=1,
    ).map(lambda days: [(day, *counts) for day, counts in sorted(days.items())]),
)


@given(
    counts=tables,
    value=st.sampled_from(["", None, "a", "ü", "b", "never"]),
    day=st.integers(-5, 25),
)
def test_a_day_sees_the_days_before_it(counts, value, day):
    """Against a sum written out; without a day, all of them."""
    past = Past(counts)
    days = counts.get(value or "", [])
    before = [(shown, clicked) for other, shown, clicked in days if other < day]
    expected = tuple(map(sum, zip(*before, strict=True))) or None
    assert past.before(value, DAY_0 + timedelta(days=day)) == expected
    everything = [(shown, clicked) for _, shown, clicked in days]
    assert past.before(value, None) == (tuple(map(sum, zip(*everything, strict=True))) or None)


@given(counts=tables)
def test_a_table_survives_its_file(counts):
    """With its digest, which any change of it changes."""
    past = Past(counts)
    again = Past.from_dict(json.loads(json.dumps(past.to_dict())))
    assert (again.digest, len(again)) == (past.digest, len(counts))
    assert Past({**counts, "more": [(0, 1, 0)]}).digest != past.digest


@pytest.mark.parametrize(
    "days", [[(1, 2, 3)], [(2, 1, 1), (1, 1, 1)], [(1, 1, 1), (1, 1, 1)], [(1, 5, -1)]]
)
def test_a_table_that_cannot_be_is_refused(days):
    """More clicks than impressions, days out of order, a day twice."""
    with pytest.raises(ValueError, match="the past of 'a' has days out of order, or more clicks"):
        Past({"a": days})


def test_a_table_in_a_file_takes_a_dozen_bytes_per_day():
    """With indents, too, as models and feature sets write it."""
    past = Past({f"v{n:03d}": [(16_364 + day, 90, 12) for day in range(30)] for n in range(200)})
    assert len(json.dumps(past.to_dict(), indent=2)) < 13 * 200 * 30


@pytest.mark.parametrize("raw", [{"a": "0 1"}, {"a": "0 Infinity 1"}, {"a": ""}, {"a": "0 1 2 0"}])
def test_a_file_that_holds_no_table_is_refused(raw):
    """As one error, whatever it holds."""
    with pytest.raises(ValueError):
        Past.from_dict(raw)
