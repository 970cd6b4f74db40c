"""Which rows repeat an earlier id, in memory that grows with the repeats, not with the log.

While rows are read, a record of each goes to a file: two hashes of its id, its day, and where it was read. The records are
grouped by the first bits of the first hash, so that a share of all ids can be read without the others, by any process: ids
of different shares are never equal. Equal first hashes are candidates, decided by the second. Files are read in
pieces, not mapped, because mapped pages count as memory of the process.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

RECORD = np.dtype(
    [
        ("key", "u8"),
        ("second", "u8"),
        ("place", "i8"),
        ("rank", "i8"),
        ("day", "i4"),
        ("piece", "i4"),
    ]
)  # rank: which row of its day in its piece; place: where it was read
SHARE_ROWS = 4 << 20
_SEGMENT_ROWS = 1 << 20
_BITS = 12  # of the first hash: at most 4,096 shares
_N_BINS = 1 << _BITS


class RowRecords:
    """A growing file of records, in order of arrival within each bin of its segments."""

    def __init__(self, path: Path, piece: int):
        self.path, self._piece = path, piece
        self._handle = path.open("wb")
        self._waiting: list[np.ndarray] = []
        self._n_waiting = 0

    def append(
        self,
        *,
        keys: np.ndarray | None,
        second: np.ndarray | None,
        places: np.ndarray,
        ranks: np.ndarray,
        days: np.ndarray,
    ) -> None:
        """Add rows; without ids there are no keys."""
        rows = np.empty(days.size, dtype=RECORD)
        rows["key"], rows["second"] = (0, 0) if keys is None else (keys, second)
        rows["place"], rows["rank"], rows["day"] = places, ranks, days
        rows["piece"] = self._piece
        self._waiting.append(rows)
        self._n_waiting += rows.size
        if self._n_waiting >= _SEGMENT_ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._n_waiting:
            return
        rows = np.concatenate(self._waiting)
        self._waiting, self._n_waiting = [], 0
        bins = (rows["key"] >> np.uint64(64 - _BITS)).astype(np.uint16)
        ends = np.cumsum(np.bincount(bins, minlength=_N_BINS)).astype(np.int64)
        self._handle.write(ends.data)
        self._handle.write(np.take(rows, np.argsort(bins, kind="stable")).data)

    def end(self) -> None:
        """Write what waits, and finish the file."""
        self._flush()
        self.close()

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._handle.close()


def _segments(file: BinaryIO) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the place of the first record of each segment in a file, and where its bins end."""
    while (ends := np.fromfile(file, np.int64, _N_BINS)).size:
        start = file.tell()
        yield start, ends
        file.seek(start + int(ends[-1]) * RECORD.itemsize)


def _share(path: Path, number: int, n_shares: int) -> Iterator[np.ndarray]:
    """Yield those records of a file whose ids belong to a share, equal ids in order of arrival."""
    first, last = number * _N_BINS // n_shares, (number + 1) * _N_BINS // n_shares
    with path.open("rb") as file:
        for start, ends in _segments(file):
            low, high = int(ends[first - 1]) if first else 0, int(ends[last - 1])
            file.seek(start + low * RECORD.itemsize)
            yield np.fromfile(file, RECORD, high - low)


def number_of_shares(n_rows: int) -> int:
    """Return into how many shares the ids of a log are dealt: a power of 2, about four million rows each.

    Examples
    --------
    >>> number_of_shares(0), number_of_shares(40_000_000), number_of_shares(10**12)
    (1, 16, 4096)
    """
    return min(_N_BINS, 1 << max(0, -(-n_rows // SHARE_ROWS) - 1).bit_length())


def find_duplicates(
    paths: Sequence[Path], number: int, n_shares: int, left_out: Sequence[int] = ()
) -> np.ndarray:
    """Return the records of those rows of a share that repeat an earlier id.

    Parameters
    ----------
    paths
        The files of all pieces, in order.
    number, n_shares
        Which share, from 0, of how many; a power of 2.
    left_out
        Days whose rows do not count.
    """
    found = [rows for path in paths for rows in _share(path, number, n_shares)]
    rows = np.concatenate([np.zeros(0, dtype=RECORD), *found])
    del found
    keys = np.sort(rows["key"])
    repeated = np.unique(keys[1:][keys[1:] == keys[:-1]])
    if not repeated.size:
        return rows[:0]
    rows = rows[np.isin(rows["key"], repeated) & ~np.isin(rows["day"], list(left_out))]
    return rows[later_ones(rows["key"], rows["second"])]


def records_of_days(paths: Sequence[Path], days: Sequence[int]) -> np.ndarray:
    """Return the records of all rows of some days."""
    found = [np.zeros(0, dtype=RECORD)]
    for path in paths:
        with path.open("rb") as file:
            for start, ends in _segments(file):
                file.seek(start)
                rows = np.fromfile(file, RECORD, int(ends[-1]))
                found.append(rows[np.isin(rows["day"], list(days))])
    return np.concatenate(found)


def later_ones(keys: np.ndarray, second_keys: np.ndarray) -> np.ndarray:
    """Return a mask over candidates of those equal to an earlier one in both keys; equal ones are in order of arrival.

    Examples
    --------
    >>> later_ones(np.array([7, 7, 9, 9, 7]), np.array([1, 2, 3, 3, 1])).tolist()
    [False, False, False, True, True]
    """
    order = np.lexsort((np.arange(keys.size), second_keys, keys))
    first, second = keys[order], second_keys[order]
    repeats = np.zeros(keys.size, dtype=bool)
    repeats[1:] = (first[1:] == first[:-1]) & (second[1:] == second[:-1])
    mask = np.zeros(keys.size, dtype=bool)
    mask[order] = repeats
    return mask
