"""How often a schedule of EventBridge Scheduler runs."""

import re

from tasks.errors import ConfigError

_HOURS = {"minute": 1 / 60, "hour": 1.0, "day": 24.0}
_DAYS_A_MONTH = 365.25 / 12
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def runs_a_month(expression: str) -> float:
    """Return how often ``rate(...)`` or ``cron(...)`` runs in an average month.

    Raises
    ------
    ConfigError
        If the expression is neither, or uses what is not counted here (L, W, #).

    Examples
    --------
    >>> round(runs_a_month("rate(1 day)"), 1)
    30.4
    >>> round(runs_a_month("cron(0 3 ? * MON-FRI *)"), 1)
    21.7
    """
    if rate := re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression):
        every_hours = int(rate[1]) * _HOURS[rate[2]]
        if every_hours:
            return _DAYS_A_MONTH * 24 / every_hours
    if cron := re.fullmatch(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)", expression):
        minute, hour, day, month, weekday, _ = cron.groups()
        try:
            by_day = _n(minute, 0, 59) * _n(hour, 0, 23) * _n(month, 1, 12, _MONTHS) / 12
            if weekday in "?*":
                return by_day * _n(day, 1, 31) / 31 * _DAYS_A_MONTH
            return by_day * _n(weekday, 1, 7, _WEEKDAYS) / 7 * _DAYS_A_MONTH
        except (ValueError, ZeroDivisionError):
            pass
    raise ConfigError(
        f"schedule.expression: {expression!r} cannot be counted; write rate(1 day) or cron(0 3 * * ? *), or --assume runs=N"
    )


def _n(field: str, low: int, high: int, names: tuple[str, ...] = ()) -> int:
    """Return how many values a cron field stands for."""
    chosen: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        for number, name in enumerate(names, 1):
            span = span.replace(name, str(number))
        first, _, last = span.partition("-")
        if span in ("*", "?"):
            first, last = str(low), str(high)
        elif not last:
            last = str(high) if step else first
        chosen |= set(range(int(first), int(last) + 1, int(step or 1)))
    if not chosen or min(chosen) < low or max(chosen) > high:
        raise ValueError(field)
    return len(chosen)
