"""Random streams, bijective mixers and heavy-tailed tables: what every part of the log draws from.

A value is a *rank* within its pool, and becomes text only when it is needed: a 32-bit mixer, which
is a bijection, turns a rank into eight hex digits, so a pool of millions of values costs no memory.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

_HEX = np.array([f"{byte:02x}" for byte in range(256)], dtype="S2").view(np.uint16)


def stream(seed: int, *key: int) -> np.random.Generator:
    """Return the generator that belongs to this seed and key, independent of draws elsewhere."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, *key])))


def mix32(values: np.ndarray, *, salt: int) -> np.ndarray:
    """Return a bijection of the 32-bit `values` (murmur3's finalizer), another one for each salt."""
    h = values.astype(np.uint32) ^ np.uint32(salt * 0x9E3779B1 & 0xFFFFFFFF)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h ^= h >> np.uint32(shift)
        h *= np.uint32(factor)
    return h ^ (h >> np.uint32(16))


def mix64(values: np.ndarray, *, salt: int) -> np.ndarray:
    """Return a bijection of the 64-bit `values` (splitmix64's finalizer), another for each salt."""
    h = values.astype(np.uint64) + np.uint64(salt * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        h = (h ^ (h >> np.uint64(shift))) * np.uint64(factor)
    return h ^ (h >> np.uint64(31))


def uniform_of(values: np.ndarray, *, salt: int) -> np.ndarray:
    """Return a number in [0, 1) for each value: the same value always gets the same number."""
    return mix32(values, salt=salt) * 2.0**-32


def hex_strings(values: np.ndarray) -> pa.StringArray:
    """Return 32-bit `values` as eight hex digits each, built as an Arrow buffer without Python strings."""
    text = _HEX[np.ascontiguousarray(values, dtype=">u4").view(np.uint8)]
    offsets = np.arange(0, 8 * len(values) + 1, 8, dtype=np.int32)
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(text))


def hex_pool(size: int, *, salt: int, names: Sequence[str] = ()) -> pa.StringArray:
    """Return the values of a pool in order of rank: `names` first, then mixed ranks."""
    rest = hex_strings(mix32(np.arange(len(names), size), salt=salt))
    return pa.concat_arrays([pa.array(names, pa.string()), rest])


def tail_weights(head: Sequence[float], size: int, *, shift: float, power: float) -> np.ndarray:
    """Return `size` shares: the head as given, then a tail (k + shift)^-power that fills up to one."""
    tail = (np.arange(1, size - len(head) + 1) + shift) ** -power
    return np.concatenate([head, tail * ((1 - sum(head)) / tail.sum())])


def assign(
    weights: np.ndarray,
    shares: np.ndarray,
    rng: np.random.Generator,
    *,
    greedy: int = 300,
    cover_at: float = 0.5,
) -> np.ndarray:
    """Return a category for each value, so that the categories' shares of `weights` come out as given.

    The heaviest values go one by one to the category that lacks most; the light ones are drawn. Some of
    these, the fraction `cover_at` down the list, cover every category once: a whole log shows them all.
    """
    order = np.argsort(-weights, kind="stable")
    remaining = shares / shares.sum() * weights.sum()
    out = np.empty(len(weights), dtype=np.int32)
    for item in order[:greedy]:
        out[item] = np.argmax(remaining)
        remaining[out[item]] -= weights[item]
    rest = order[greedy:]
    if len(rest):
        chance = np.maximum(remaining, 0) + 1e-9
        out[rest] = rng.choice(len(shares), size=len(rest), p=chance / chance.sum())
        cover = min(len(shares), len(rest))
        first = int(cover_at * (len(rest) - cover))
        out[rest[first : first + cover]] = np.arange(cover)
    return out


class Tables:
    """Discrete distributions over one pool, stacked: row `state` of `weights` belongs to that state."""

    def __init__(self, weights: ArrayLike):
        rows = np.atleast_2d(np.asarray(weights, dtype=float))
        self.size = rows.shape[1]
        cdf = np.cumsum(rows, axis=1)
        cdf /= cdf[:, -1:]
        self._flat = (cdf + np.arange(len(cdf))[:, None]).ravel()

    def draw(self, u: np.ndarray, state: np.ndarray | int = 0) -> np.ndarray:
        """Return a rank for each uniform number `u`, from the distribution of its state."""
        rank = np.searchsorted(self._flat, u + state, side="right") - np.asarray(state) * self.size
        return np.clip(rank, 0, self.size - 1).astype(np.int32)


class PowerLaw:
    """Ranks 0, 1, ... of a pool too large for a table, with density (rank + shift)^-power.

    New values then keep coming as n^(1 / power), Heaps' law, which the addresses and devices
    of the real log follow from ten thousand rows to forty million.
    """

    def __init__(self, *, shift: float, power: float, size: float = 2.0**31):
        self.shift, self.exponent = shift, -1 / (power - 1)
        self.reach = 1 - (1 + size / shift) ** (1 - power)

    def draw(self, u: np.ndarray) -> np.ndarray:
        """Return a rank for each uniform number `u`, by inversion."""
        return (self.shift * ((1 - u * self.reach) ** self.exponent - 1)).astype(np.uint32)
