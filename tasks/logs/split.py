"""Train, validation and test rows, in this order of time; never at random."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.errors import ConfigError, InputError
from tasks.logs.log import Log

Span = tuple[int, int]


@dataclass(frozen=True)
class Split:
    """Spans of rows of a log, first row and one past the last; ``note`` describes how they were cut."""

    train: Span
    valid: Span
    test: Span
    unit: str
    note: str

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data; :meth:`from_dict` reads it back."""
        parts = {name: list(getattr(self, name)) for name in ("train", "valid", "test")}
        return {**parts, "unit": self.unit, "note": self.note}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Split":
        """Return the split that :meth:`to_dict` wrote."""
        train, valid, test = (
            (int(raw[name][0]), int(raw[name][1])) for name in ("train", "valid", "test")
        )
        return cls(train, valid, test, unit=str(raw["unit"]), note=str(raw["note"]))


def split_log(
    log: Log,
    *,
    valid_share: float = 0.1,
    test_share: float = 0.1,
    window_days: int | None = None,
) -> Split:
    """Return train, validation and test as spans of rows, each later than the one before.

    Cuts lie between days if the log has three or more, else between hours if it has three or more,
    else between rows. Each part has at least one such unit, and its share of rows is as near to the
    wanted one as whole units allow.

    Parameters
    ----------
    log : Log
    valid_share, test_share : float
        Wanted shares of rows, above 0; together below 1.
    window_days : int or None
        Training begins so many days before the test rows at the earliest; None: with the first row.

    Raises
    ------
    ConfigError
        If a share is out of its range.
    InputError
        If the log has fewer than three rows, or the window leaves none to train on.
    """
    for name, share in (("valid_share", valid_share), ("test_share", test_share)):
        if not 0 < share < 1:
            raise ConfigError(f"{name} must be above 0 and below 1, got {share}")
    if valid_share + test_share >= 1:
        raise ConfigError(
            f"valid_share + test_share must be below 1, got {valid_share + test_share:g}; rows must be left to train on"
        )
    if log.n_rows < 3:
        raise InputError(
            f"{log.folder}: {log.n_rows} rows cannot be split into train, validation and test; at least three are needed"
        )
    unit, ends = _units(log)
    first = _cut(ends, (1 - valid_share - test_share) * log.n_rows, low=0, high=len(ends) - 3)
    second = _cut(ends, (1 - test_share) * log.n_rows, low=first + 1, high=len(ends) - 2)
    a, b = int(ends[first]), int(ends[second])
    begin = 0 if window_days is None else _window_start(log, b, window_days)
    if begin >= a:
        raise InputError(
            f"{log.folder}: a window of {window_days} days leaves no rows to train on before those that validate; "
            "make split.window_days larger, or split.valid_share smaller"
        )
    note = _note(log, unit, begin, a, b)
    return Split((begin, a), (a, b), (b, log.n_rows), unit, note)


def _window_start(log: Log, test_start: int, days: int) -> int:
    """Return the first row of the last so many days that begin before the test rows; 0 if the log has no times."""
    if not log.manifest.get("has_time", True):
        return 0
    ends = np.cumsum(list(log.rows_by_day.values()))
    last = int(
        np.searchsorted(ends, test_start - 1, side="right")
    )  # the day of the row before the test's
    return 0 if last < days else int(ends[last - days])


def _units(log: Log) -> tuple[str, np.ndarray]:
    """Return the unit between which to cut, and the row number at which each ends."""
    for unit, counts in (("day", log.rows_by_day), ("hour", log.rows_by_hour)):
        if len(counts) >= 3:
            return unit, np.cumsum(list(counts.values()))
    return "row", np.arange(1, log.n_rows + 1)


def _cut(ends: Sequence[int] | np.ndarray, wanted: float, *, low: int, high: int) -> int:
    """Return the unit, from `low` to `high`, that ends nearest to row `wanted`."""
    window = np.abs(np.asarray(ends[low : high + 1], dtype=float) - wanted)
    return low + int(window.argmin())


def _note(log: Log, unit: str, begin: int, a: int, b: int) -> str:
    sizes = f"train {a - begin:,}, valid {b - a:,}, test {log.n_rows - b:,} rows"
    sizes += f"; the {begin:,} before are outside of the window" if begin else ""
    if unit == "row":
        n_hours = len(log.rows_by_hour)
        if not log.manifest.get("has_time", True):
            return f"split by row order, because the schema declares no time ({sizes})"
        found = "a single hour" if n_hours == 1 else f"only {n_hours} hours"
        return (
            f"split by row order, because the log has {found}; parts may share a moment ({sizes})"
        )
    counts = log.rows_by_day if unit == "day" else log.rows_by_hour
    edges = np.cumsum(list(counts.values()))
    keys = list(counts)
    starts = [keys[int(np.searchsorted(edges, row, side="right"))] for row in (a, b)]
    names = [start.isoformat() if unit == "day" else f"{start:%Y-%m-%d %H}h" for start in starts]
    return f"split by {unit}: valid from {names[0]}, test from {names[1]} UTC ({sizes})"
