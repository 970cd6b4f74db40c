"""The hour at which an impression is shown."""

from datetime import datetime

from tasks.features import HOUR, feature


@feature(HOUR)
def hour_of_day(hour: datetime | None) -> int | None:
    """Return the hour of the day, 0 to 23, UTC.

    Examples
    --------
    >>> hour_of_day(datetime(2014, 10, 21, 13))
    13
    """
    return None if hour is None else hour.hour
