"""Which rows repeat an earlier id, in memory that grows with the repeats, not with the log.

Each id's 64-bit hash goes to a file. The file is then read in as many passes as needed, each over
the share of hashes that fits into memory; equal hashes are candidates, decided by a second hash. Files
are read in pieces, not mapped, because mapped pages count as memory of the process.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

_PASS_ROWS = 4 << 20
_CHUNK_ROWS = 1 << 20
_KEY_BITS = 64


class Column:
    """A growing array of one dtype in a file."""

    def __init__(self, path: Path, dtype: str):
        self.path, self._dtype = path, np.dtype(dtype)
        self._handle = path.open("wb")
        self.size = 0

    def append(self, values: np.ndarray) -> None:
        """Add values at the end."""
        self._handle.write(np.ascontiguousarray(values, dtype=self._dtype).data)
        self.size += values.size

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._handle.close()

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield all values in order, about a million at a time."""
        self.close()
        with self.path.open("rb") as file:
            while (values := np.fromfile(file, self._dtype, _CHUNK_ROWS)).size:
                yield values

    def take(self, places: np.ndarray) -> np.ndarray:
        """Return the values at places, which must ascend."""
        return np.concatenate(
            [np.zeros(0, self._dtype), *(values[inside] for values, inside in self._cut(places))]
        )

    def equal(self, value: int) -> np.ndarray:
        """Return a mask of the values equal to one."""
        return np.concatenate([np.zeros(0, bool), *(values == value for values in self.chunks())])

    def ranks(self, places: np.ndarray) -> np.ndarray:
        """Return how many equal values stand before each of these places, which must ascend."""
        seen: Counter[int] = Counter()
        found = [np.zeros(0, dtype=np.int64)]
        for values, inside in self._cut(places):
            distinct, counts = np.unique(values, return_counts=True)
            if inside.size:
                before = np.array([seen[value] for value in distinct.tolist()])
                group = np.searchsorted(distinct, values[inside])
                found.append(before[group] + _ranks(values, counts)[inside])
            seen.update(dict(zip(distinct.tolist(), counts.tolist(), strict=True)))
        return np.concatenate(found)

    def _cut(self, places: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield each piece of the file and which of its own places are asked for."""
        first = 0
        for values in self.chunks():
            low, high = np.searchsorted(places, [first, first + values.size])
            yield values, places[low:high] - first
            first += values.size


def _ranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return how many equal values stand before each; `counts` are those of the distinct ones, ascending."""
    ranks = np.empty(values.size, dtype=np.int64)
    begins = np.repeat(np.cumsum(counts) - counts, counts)
    ranks[np.argsort(values, kind="stable")] = np.arange(values.size) - begins
    return ranks


def find_candidates(
    chunks: Callable[[], Iterable[np.ndarray]], n_rows: int, *, pass_rows: int = _PASS_ROWS
) -> np.ndarray:
    """Return the sorted places of all keys that occur more than once.

    Parameters
    ----------
    chunks
        Yields all keys (uint64) in order, from the start at each call.
    n_rows
        Number of keys.
    pass_rows
        About how many keys to hold in memory.

    Examples
    --------
    >>> find_candidates(lambda: [np.array([7, 8, 7], np.uint64), np.array([9, 9], np.uint64)], 5).tolist()
    [0, 2, 3, 4]
    """
    n_bits = max(0, -(-n_rows // pass_rows) - 1).bit_length()
    shares = (_repeated(chunks(), number, n_bits) for number in range(2**n_bits))
    repeated = np.concatenate(list(shares))  # ascending, because the high bits are the share
    if not repeated.size:
        return np.zeros(0, dtype=np.int64)
    places, first = [], 0
    for keys in chunks():
        at = np.searchsorted(repeated, keys)
        at[at == repeated.size] = 0
        places.append(first + np.flatnonzero(repeated[at] == keys))
        first += keys.size
    return np.concatenate(places)


def _repeated(chunks: Iterable[np.ndarray], number: int, n_bits: int) -> np.ndarray:
    """Return, in order, those keys that occur more than once and whose highest bits are `number`."""
    mine = [np.zeros(0, dtype=np.uint64)]
    for keys in chunks:
        mine.append(keys[keys >> np.uint64(_KEY_BITS - n_bits) == number] if n_bits else keys)
    held = np.concatenate(mine)
    held.sort()
    return np.unique(held[1:][held[1:] == held[:-1]])


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
