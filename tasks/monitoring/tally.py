"""Sums over joined rows, by hour: all that quality, delay and drift are computed from, in constant memory.

Conventions: hours are numbered from the first of the span. The last axis of sums of quality is `SUMS`; the axis before
it the groups of units, which intervals are drawn by.
"""

from dataclasses import dataclass, field

import numpy as np

from tasks.evaluation.rows import row_losses
from tasks.monitoring import delay
from tasks.monitoring.bins import N_BINS, N_TOP
from tasks.monitoring.spool import N_GROUPS

SUMS = ("n", "clicks", "expected", "loss")
HOUR_US = 3_600_000_000
_LOGIT_EDGES = np.linspace(-9, 3, N_TOP - 1)  # of bins of predictions


@dataclass(frozen=True)
class Rows:
    """Joined rows as arrays, ``(n_rows,)`` each.

    Attributes
    ----------
    time_us, y_true, delay_us
        As :class:`tasks.monitoring.attribution.Joined` has them.
    p_click
        The probability that was answered.
    variant
        Variant and version as one text, ``(n_rows,)``.
    group
        The unit's group, 0 to ``N_GROUPS - 1``.
    bins
        The bin of each field, uint8 ``(n_rows, n_fields)``.
    """

    time_us: np.ndarray
    y_true: np.ndarray
    delay_us: np.ndarray
    p_click: np.ndarray
    variant: np.ndarray
    group: np.ndarray
    bins: np.ndarray


@dataclass
class Tally:
    """The sums of a span of hours.

    Attributes
    ----------
    start_us, n_hours
        Its first moment, on a full hour; its length.
    n_fields, sliced
        Number of fields; the numbers of those whose values are slices.
    now_us, window_s
        The moment of the report; the attribution window.
    """

    start_us: int
    n_hours: int
    n_fields: int
    sliced: list[int]
    now_us: int
    window_s: float
    quality: dict[str, np.ndarray] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (self.n_hours, N_GROUPS, len(SUMS))
        self.slices = np.zeros((len(self.sliced), N_BINS, *shape))
        self.fields = np.zeros((self.n_hours, self.n_fields, N_BINS), np.int64)
        self.predictions = np.zeros((self.n_hours, N_BINS), np.int64)
        self.ages = np.zeros(delay.N_BINS)
        self.delays = np.zeros(delay.N_BINS)
        self.complete = np.zeros(delay.N_BINS)
        self.sum_delays_s = 0.0
        self._edges = delay.bin_edges(self.window_s)

    def add(self, rows: Rows) -> None:
        """Take in rows of the span, in any order."""
        if not len(rows.time_us):
            return
        hours = (rows.time_us - self.start_us) // HOUR_US
        values = [np.ones(len(hours)), rows.y_true.astype(np.float64), rows.p_click]
        values.append(row_losses(rows.y_true, rows.p_click))
        cells = hours * N_GROUPS + rows.group
        names, codes = np.unique(rows.variant, return_inverse=True)
        for code, name in enumerate(names.tolist()):
            mask = codes == code
            sums = self._summed(cells[mask], [one[mask] for one in values])
            self.quality[name] = self.quality.get(name, 0) + sums
        n_cells = self.n_hours * N_GROUPS
        for place, number in enumerate(self.sliced):
            sums = self._summed(rows.bins[:, number] * np.int64(n_cells) + cells, values, N_BINS)
            self.slices[place] += sums.reshape(self.slices[place].shape)
        for number in range(self.n_fields):
            found = np.bincount(
                hours * N_BINS + rows.bins[:, number], minlength=self.n_hours * N_BINS
            )
            self.fields[:, number] += found.reshape(self.n_hours, N_BINS)
        logit = np.log(np.clip(rows.p_click, 1e-9, 1)) - np.log(np.clip(1 - rows.p_click, 1e-9, 1))
        codes = np.searchsorted(_LOGIT_EDGES, logit)
        found = np.bincount(hours * N_BINS + codes, minlength=self.n_hours * N_BINS)
        self.predictions += found.reshape(self.n_hours, N_BINS)
        self._add_delays(rows)

    def add_counts(self, counts: dict[str, int]) -> None:
        """Add to what was counted by name."""
        for name, number in counts.items():
            self.counts[name] = self.counts.get(name, 0) + number

    def _summed(self, cells: np.ndarray, values: list[np.ndarray], times: int = 1) -> np.ndarray:
        n_cells = self.n_hours * N_GROUPS * times
        sums = [np.bincount(cells, weights=one, minlength=n_cells) for one in values]
        return np.stack(sums, axis=-1).reshape(times * self.n_hours, N_GROUPS, len(SUMS))

    def _add_delays(self, rows: Rows) -> None:
        age_s = np.clip((self.now_us - rows.time_us) / 1e6, 0, self.window_s)
        clicked = rows.delay_us >= 0
        late_s = rows.delay_us[clicked] / 1e6
        self.ages += self._binned(age_s[~clicked])
        found = self._binned(late_s)
        self.delays += found
        self.complete += self._binned(late_s[age_s[clicked] >= self.window_s])
        self.sum_delays_s += float(late_s.sum())

    def _binned(self, seconds: np.ndarray) -> np.ndarray:
        return np.bincount(delay.bin_of(seconds, self._edges), minlength=delay.N_BINS)

    def delay_model(self, fewest: int = 1000) -> delay.DelayModel | None:
        """Return the fitted delay, with what was observed of completed impressions if they have `fewest` clicks."""
        model = delay.fit_delay(self.ages, self.delays, self.sum_delays_s, self.window_s)
        n_complete = self.complete.sum()
        if model is None or n_complete < fewest:
            return model
        observed = np.concatenate([[0.0], np.cumsum(self.complete) / n_complete])
        return delay.DelayModel(model.p_click, model.mean_s, model.window_s, observed)
