"""When the impressions arrive: hours and weekdays modulate volume, and the mix of traffic drifts."""

from datetime import date, datetime, timedelta

import numpy as np

from tasks.simulation.draws import stream

HOUR_OF_DAY = np.array(
    [
        30,
        34,
        43,
        52,
        68,
        80,
        85,
        88,
        96,
        106,
        103,
        100,
        104,
        112,
        108,
        99,
        91,
        87,
        74,
        60,
        52,
        45,
        39,
        33.0,
    ]
)
DAY_OF_WEEK = np.array([1.00, 1.18, 1.22, 0.95, 0.88, 0.86, 0.95])  # from Monday
SLOT_HOURS = 8  # creatives arrive and die, and campaigns change weight, at this step
_SETTLING_HOURS = 18.0


class Clock:
    """The calendar of one log: how many of its rows fall into each hour."""

    def __init__(self, *, seed: int, days: int, start: date):
        self.n_hours, self.n_days = 24 * days, days
        self.n_slots = self.n_hours // SLOT_HOURS
        weekday = (start.weekday() + np.arange(days)) % 7
        weights = (DAY_OF_WEEK[weekday][:, None] * HOUR_OF_DAY).ravel()
        weights *= np.exp(0.04 * stream(seed, 1).standard_normal(self.n_hours))
        self.share = weights / weights.sum()
        midnight = datetime(start.year, start.month, start.day)
        self.labels = [
            f"{midnight + timedelta(hours=hour):%y%m%d%H}" for hour in range(self.n_hours)
        ]
        # The opening mix (the real log's first hour) gives way to that of the ten days.
        self.opening = np.exp(-np.arange(self.n_hours) / _SETTLING_HOURS)

    def ends(self, n_rows: int) -> np.ndarray:
        """Return, for each hour, the number of the row after its last one, of `n_rows` in total."""
        ends = np.floor(np.cumsum(self.share) * n_rows + 0.5).astype(np.int64)
        ends[-1] = n_rows
        return ends
