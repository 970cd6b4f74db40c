"""Numbers to buckets: where a field's values are cut, learned on the training rows, and which bucket a value is in.

Bucket 0 lies below the first edge, the last one above the last edge; neither holds a training row. A missing value is
in none. Quantile buckets hold about as many training rows each; a value that would fill several has one of its own.
Log buckets are equal steps of the logarithm from the smallest positive value to the largest; zero has a bucket of its
own, and all negative values share one.
"""

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit

from tasks.hashing.columns import Column, Texts, read_only, texts_of
from tasks.schema import Schema

if TYPE_CHECKING:  # the service reads requests, not logs
    from tasks.logs.log import Log

MAX_SAMPLE = 1_000_000  # values per field that quantiles are taken of
_CELL_BITS = 13  # of 2, 4, ... cells, as many as fit the first cache


def learn_edges(log: "Log", schema: Schema, span: tuple[int, int]) -> dict[str, tuple[float, ...]]:
    """Return the edges of each number's buckets, by name, from rows of a log.

    Of more than a million rows every second, fourth, ... is taken for quantiles; the first and the last edge follow
    from all of them.
    """
    numbers = [spec for spec in schema.fields if spec.kind == "number"]
    if not numbers:
        return {}
    samples = {spec.name: _Sample() for spec in numbers}
    for batch in log.batches(columns=list(samples), start=span[0], stop=span[1]):
        for name, sample in samples.items():
            sample.add(floats_of(batch.column(name)))
    makers = {"quantile": quantile_edges, "log": log_edges}
    return {
        spec.name: makers[spec.buckets](samples[spec.name].values, spec.n_buckets)
        for spec in numbers
    }


class _Sample:
    """Finite values: every ``step``-th row, and the extremes of all that decide edges."""

    def __init__(self) -> None:
        self._held: list[np.ndarray] = []
        self._step, self._n_rows, self._n_held = 1, 0, 0
        self._extremes = np.empty(0)

    def add(self, values: np.ndarray) -> None:
        """Take in the values of the next rows."""
        finite = values[np.isfinite(values)]
        self._extremes = _extremes(np.concatenate([self._extremes, finite]))
        self._keep(values[-self._n_rows % self._step :: self._step])
        self._n_rows += len(values)
        while self._n_held > MAX_SAMPLE:
            held = np.concatenate(self._held)[::2]
            self._held, self._n_held, self._step = [held], len(held), self._step * 2

    def _keep(self, values: np.ndarray) -> None:
        self._held.append(values)
        self._n_held += len(values)

    @property
    def values(self) -> np.ndarray:
        """The finite ones of the sample, and the extremes if it lacks any row."""
        values = np.concatenate([*self._held, *([self._extremes] if self._step > 1 else [])])
        return values[np.isfinite(values)]


def _extremes(values: np.ndarray) -> np.ndarray:
    """Return the smallest value, the smallest positive one, 0 if it is there, and the largest."""
    positive = values[values > 0]
    found = [values.min(), values.max()] if values.size else []
    found += [positive.min()] if positive.size else []
    return np.unique([*found, *([0.0] if (values == 0).any() else [])])


def quantile_edges(values: np.ndarray, n_buckets: int) -> tuple[float, ...]:
    """Return edges between which about as many values lie each; all edges are values.

    Examples
    --------
    >>> quantile_edges(np.array([0.0, 0.0, 0.0, 1.0, 2.0, 3.0]), 3)
    (0.0, 1.0, 3.0000000000000004)
    """
    if not values.size:
        return ()
    distinct = np.unique(values)
    if len(distinct) <= n_buckets:
        return _closed(distinct, distinct[-1])
    cuts = np.quantile(values, np.arange(n_buckets) / n_buckets, method="lower")
    edges, n_cuts = np.unique(cuts, return_counts=True)
    after = np.searchsorted(distinct, edges[n_cuts > 1], "right")
    return _closed(np.union1d(edges, distinct[after[after < len(distinct)]]), distinct[-1])


def log_edges(values: np.ndarray, n_buckets: int) -> tuple[float, ...]:
    """Return edges at equal steps of the logarithm; zero and negative values have a bucket each.

    Examples
    --------
    >>> [round(edge, 6) for edge in log_edges(np.array([-5.0, 0.0, 1.0, 1000.0]), 3)]
    [-5.0, 0.0, 1.0, 10.0, 100.0, 1000.0]
    """
    if not values.size:
        return ()
    positive = values[values > 0]
    low = [edge for edge in (values.min(), 0.0 if (values <= 0).any() else 1.0) if edge <= 0]
    steps = np.empty(0)
    if positive.size:
        least, most = float(positive.min()), float(positive.max())
        logs = np.linspace(np.log2(least), np.log2(most), n_buckets + 1)[1:-1]
        with np.errstate(over="ignore"):
            steps = np.append(least, np.clip(np.exp2(logs), least, most))
    return _closed(np.unique([*low, *steps]), float(values.max()))


def _closed(edges: np.ndarray, largest: float) -> tuple[float, ...]:
    """Return edges with one just above the largest value, so that this one lies within."""
    with np.errstate(over="ignore"):
        end = min(float(np.nextafter(largest, np.inf)), float(np.finfo(float).max))
    return tuple(np.unique(np.append(edges, end) + 0.0).tolist())


def bucket_text(value: str, edges: Sequence[float]) -> str:
    """Return the text of the bucket of a number in canonical text; that of a missing value is empty.

    Examples
    --------
    >>> [bucket_text(value, (0.0, 1.0, 2.0)) for value in ("-1", "0", "0.5", "1", "2", "")]
    ['0', '1', '1', '2', '3', '']
    """
    return str(bisect_right(edges, float(value))) if value else ""


def bucket_name(text: str, edges: Sequence[float]) -> str:
    """Return what a bucket holds, as a table shows it; `text` is the bucket's in a token.

    Examples
    --------
    >>> [bucket_name(text, (0.0, 0.5, 2.0)) for text in ("0", "1", "3", "")]
    ['below 0', '0 to 0.5', '2 and above', '']
    """
    if not text:
        return ""
    place = int(text)
    if not edges:
        return "any"
    if place == 0:
        return f"below {edges[0]:.4g}"
    if place == len(edges):
        return f"{edges[-1]:.4g} and above"
    return f"{edges[place - 1]:.4g} to {edges[place]:.4g}"


def bucket_column(array: pa.Array, edges: tuple[float, ...]) -> Column:
    """Return the bucket of each value of an Arrow column, the buckets as texts."""
    values = floats_of(array)
    names, cells = _cells_of(edges)
    entries = np.empty(len(values), dtype=np.int32)
    _find_buckets(read_only(values), read_only(values.view(np.int64)), cells, entries)
    return Column(names, read_only(entries))


class _Cells(NamedTuple):
    """The range of floats between the edges in equal cells of their bits, so that few edges lie in a cell.

    The bits of floats, read as integers, are in the order of the floats once those of negative ones are turned around.
    """

    edges: np.ndarray  # float64, NaN last: no value is above it
    starts: np.ndarray  # int16, edges that are not above any value of each cell; all edges last
    low: int  # the bits of an edge; what lies below is in the first cell
    high: int  # the bits of the last edge
    shift: int  # a cell is 2**shift wide


@lru_cache(maxsize=256)
def _cells_of(edges: tuple[float, ...]) -> tuple[Texts, _Cells]:
    names = texts_of(list(map(str, range(len(edges) + 1))))
    tried = [_make_cells(edges, n_below) for n_below in range(3)]
    return names, min(tried, key=lambda cells: np.maximum(np.diff(cells.starts) - 1, 0).sum())


def _make_cells(edges: tuple[float, ...], n_below: int) -> _Cells:
    """Return cells that begin at an edge; a few lie below, as negative values and zero are far from the others in bits."""
    ordered = _in_order(np.array(edges or (0.0,)).view(np.int64))
    low, high = int(ordered[: 1 + n_below][-1]), int(ordered[-1])
    shift = max(0, (high - low).bit_length() - _CELL_BITS)
    steps = np.arange(((high - low) >> shift) + 1, dtype=np.uint64) << np.uint64(shift)
    first = (steps + np.array(low).astype(np.uint64)).view(np.int64)  # wraps around, as it must
    starts = np.append(np.searchsorted(ordered, first, "right"), len(edges)).astype(np.int16)
    starts[0] = 0  # the first cell also holds what lies below
    return _Cells(read_only(np.array([*edges, np.nan])), read_only(starts), low, high, shift)


@njit(cache=True, nogil=True)
def _in_order(bits):
    ordered = bits ^ ((bits >> np.int64(63)) & np.int64(0x7FFFFFFFFFFFFFFF))
    return ordered + (ordered == -1)  # negative zero is zero


@njit(cache=True, nogil=True)
def _find_buckets(values, bits, cells, out):
    """Write how many edges are not above each value, one more than there are for NaN; `bits` are those of the values."""
    edges, starts = cells.edges, cells.starts
    for i in range(values.size):
        value = values[i]
        place = min(max(_in_order(bits[i]), cells.low), cells.high) - cells.low
        cell = np.uint64(place) >> np.uint64(cells.shift)
        at = np.int64(starts[cell])
        left = starts[cell + np.uint64(1)] - at
        while left > 1:
            half = left // 2
            at += half * (edges[at + half - 1] <= value)
            left -= half
        at += edges[at] <= value
        out[i] = at if value == value else edges.size


def floats_of(array: pa.Array) -> np.ndarray:
    """Return an Arrow column of numbers, or of their canonical texts, as float64; NaN where missing."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return floats_of(array.dictionary_decode())
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        return array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.array([float(text) if text else np.nan for text in array.to_pylist()], dtype=float)


def middles(edges: Sequence[float]) -> list[float]:
    """Return a value that stands for each bucket: its middle; beyond the edges, the edge.

    Examples
    --------
    >>> middles((0.0, 1.0, 3.0))
    [0.0, 0.5, 2.0, 3.0]
    """
    if not edges:
        return [0.0]
    inner = [low / 2 + high / 2 for low, high in pairwise(edges)]
    return [edges[0], *inner, edges[-1]]
