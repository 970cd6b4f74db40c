"""Clicks meet their exposures exactly once, whatever their order, and every row is counted."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.monitoring.attribution import CLICKS, EXPOSURES, SECOND_US, Rule, attribute
from tasks.monitoring.spool import click_schema

RULE = Rule(100 * SECOND_US, 1000 * SECOND_US, 60 * SECOND_US, 5 * SECOND_US)


def rows(*found):
    """Return rows (request, position, seconds) as a table."""
    listed = [(one, position, round(time * SECOND_US)) for one, position, time in found]
    columns = [list(column) for column in zip(*listed, strict=True)] or [[], [], []]
    schema = click_schema()
    return pa.table([pa.array(c, pa.int64() if n == 2 else schema.types[n]) for n, c in enumerate(columns)],
                    names=schema.names).cast(schema)  # fmt: skip


def joined(exposures, clicks, rule=RULE):
    """Return the join of two lists of rows."""
    return attribute(rows(*exposures), rows(*clicks), rule)


def test_the_first_of_several_clicks_counts_once_in_any_order():
    """Clicks that were sent twice or arrive late and out of order are one click."""
    found = joined([("a", 0, 200)], [("a", 0, 230), ("a", 0, 210), ("a", 0, 210)])
    assert found.y_true.tolist() == [True] and found.delay_us.tolist() == [10 * SECOND_US]
    assert found.counts["clicks_attributed"] == 1 and found.counts["clicks_duplicate"] == 2


def test_a_candidate_of_a_ranking_is_clicked_on_its_own():
    """Request and position together name an impression."""
    found = joined([("a", 0, 200), ("a", 1, 200), ("b", 0, 200)], [("a", 1, 201), ("a", 7, 201)])
    assert found.y_true.sum() == 1 and found.counts["clicks_without_exposure"] == 1


def test_clocks_may_be_apart_within_the_tolerance():
    """A click a little before its exposure is one at the same moment; one long before is none."""
    found = joined([("a", 0, 200), ("b", 0, 200)], [("a", 0, 197), ("b", 0, 190)])
    assert found.delay_us.tolist() == [0, -1]
    assert found.counts["clicks_skewed"] == 1 and found.counts["clicks_before_exposure"] == 1


def test_the_window_and_the_future_end_what_counts():
    """What is too late, or later than now, has its own count; so have exposures from a clock that jumped."""
    exposures = [("a", 0, 200), ("b", 0, 990), ("c", 0, 9_000), ("d", 0, 50)]
    clicks = [("a", 0, 261), ("b", 0, 1006), ("c", 0, 300), ("d", 0, 51)]
    found = joined(exposures, clicks)
    assert not found.y_true.any()
    expected = {"exposures_used": 2, "exposures_in_future": 1, "exposures_before_span": 1}
    expected |= {"clicks_too_late": 1, "clicks_in_future": 1, "clicks_of_other_exposures": 2}
    assert {name: found.counts[name] for name in expected} == expected


def naive(exposures, clicks, rule):
    """Return the clicked (request, position) of a plain loop, and how many clicks were not used."""
    first = {}
    for one, position, time in exposures:
        key = (one, position)
        first[key] = min(first.get(key, time), time)
    chosen, unused = {}, 0
    for one, position, time in sorted(clicks, key=lambda row: row[2]):
        shown = first.get((one, position))
        sound = shown is not None and rule.start_us / 1e6 <= shown
        sound = sound and max(shown, time) <= (rule.now_us + rule.tolerance_us) / 1e6
        if not sound or not -5 <= time - shown <= 60 or (one, position) in chosen:
            unused += 1
        else:
            chosen[(one, position)] = time
    return set(chosen), unused


ROW = st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(90, 1010))


@settings(max_examples=150, deadline=None)
@given(st.lists(ROW, max_size=12), st.lists(ROW, max_size=12))
def test_the_join_is_that_of_a_plain_loop_and_loses_no_row(exposures, clicks):
    """The same clicks, and counts that sum up to what was read."""
    found = joined(exposures, clicks)
    keys, unused = naive(exposures, clicks, RULE)
    at = [exposures[row][:2] for row, label in zip(found.rows, found.y_true, strict=True) if label]
    assert sorted(at) == sorted(keys)
    counts = found.counts
    assert counts["clicks"] - counts["clicks_attributed"] == unused
    assert sum(counts[name] for name in EXPOSURES[1:]) == counts["exposures"] == len(exposures)
    assert sum(counts[name] for name in CLICKS[1:]) == counts["clicks"] == len(clicks)
