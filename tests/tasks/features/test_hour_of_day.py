"""The hour of the day."""

from datetime import UTC, datetime

from tasks.features.hour_of_day import hour_of_day


def test_the_hours_of_a_day_are_0_to_23():
    """Midnight is 0; no time has no hour."""
    day = datetime(2014, 10, 21, tzinfo=UTC)
    assert [hour_of_day(day.replace(hour=hour)) for hour in (0, 13, 23)] == [0, 13, 23]
    assert hour_of_day(None) is None
