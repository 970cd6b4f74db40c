"""The day of the week on which an impression is shown."""

from datetime import datetime

from tasks.features import DAY, feature


@feature(DAY)
def weekday(day: datetime | None) -> int | None:
    """Return the day of the week, 0 (Monday) to 6, UTC.

    Examples
    --------
    >>> weekday(datetime(2014, 10, 21))
    1
    """
    return None if day is None else day.weekday()
