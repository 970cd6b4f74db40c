"""Which rows repeat an id that came before, in memory that does not grow with the log.

Each id's 64-bit hash goes to a file. The file is then read as often as needed, each time looking at
the share of hashes that fits into memory; equal ones are candidates, settled by a second hash.
"""

from pathlib import Path

import numpy as np

_PASS_ROWS = 2 << 20
_CHUNK_ROWS = 2 << 20


class Column:
    """A growing array of one dtype in a file."""

    def __init__(self, path: Path, dtype: str):
        self.path, self._dtype = path, np.dtype(dtype)
        self._handle = path.open("wb")

    def append(self, values: np.ndarray) -> None:
        """Add values at the end."""
        self._handle.write(np.ascontiguousarray(values, dtype=self._dtype).data)

    def close(self) -> None:
        """Close the file; closing twice does no harm."""
        self._handle.close()

    def read(self) -> np.ndarray:
        """Return all values, mapped from the file."""
        self.close()
        if not self.path.stat().st_size:
            return np.zeros(0, dtype=self._dtype)
        return np.memmap(self.path, dtype=self._dtype, mode="r")


def find_candidates(keys: np.ndarray, *, pass_rows: int = _PASS_ROWS) -> np.ndarray:
    """Return the sorted places of all keys that occur more than once.

    Examples
    --------
    >>> find_candidates(np.array([7, 8, 7, 9, 9], dtype=np.uint64)).tolist()
    [0, 2, 3, 4]
    """
    n_passes = max(1, -(-keys.size // pass_rows))
    found = [
        _candidates_of_pass(keys, np.uint64(number), np.uint64(n_passes))
        for number in range(n_passes)
    ]
    return np.sort(np.concatenate(found))


def _candidates_of_pass(keys: np.ndarray, number: np.uint64, n_passes: np.uint64) -> np.ndarray:
    chosen = []
    for begin in range(0, keys.size, _CHUNK_ROWS):
        chunk = np.asarray(keys[begin : begin + _CHUNK_ROWS])
        chosen.append(
            begin
            + (
                np.arange(chunk.size)
                if n_passes == 1
                else np.flatnonzero(chunk % n_passes == number)
            )
        )
    places = np.concatenate(chosen) if chosen else np.zeros(0, dtype=np.int64)
    mine = np.asarray(keys[places])
    order = np.argsort(mine, kind="stable")
    sorted_keys = mine[order]
    same = sorted_keys[1:] == sorted_keys[:-1]
    repeated = np.zeros(mine.size, dtype=bool)
    repeated[1:] |= same
    repeated[:-1] |= same
    return places[order[repeated]]


def later_ones(keys: np.ndarray, second_keys: np.ndarray) -> np.ndarray:
    """Return a mask over candidates, in order of arrival, of those equal to an earlier one in both keys.

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
