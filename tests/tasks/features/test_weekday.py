"""The day of the week."""

from datetime import UTC, datetime

from tasks.features.weekday import weekday


def test_the_week_begins_with_monday():
    """20 October 2014 was one; no time has no weekday."""
    days = [datetime(2014, 10, 20 + number, tzinfo=UTC) for number in range(7)]
    assert [weekday(day) for day in days] == list(range(7))
    assert weekday(None) is None
