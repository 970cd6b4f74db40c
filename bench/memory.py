"""Memory bandwidth and latency of this machine, measured by kernels without arithmetic."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numba import njit

LINE_BYTES = 64
_WAYS = 16
_REPEATS = 5


def best_of(work: Callable[[], object], repeats: int = _REPEATS) -> float:
    """Return the shortest of several times in seconds, after one uncounted call."""
    work()
    times = []
    for _ in range(repeats):
        since = time.perf_counter()
        work()
        times.append(time.perf_counter() - since)
    return min(times)


@njit(cache=True, nogil=True)
def _read(a):
    total = np.int64(0)  # integer addition is associative, so the compiler can vectorize it
    for i in range(a.size):
        total += a[i]
    return total


@njit(cache=True, nogil=True)
def _triad(a, b, c):
    for i in range(a.size):
        a[i] = b[i] + 3.0 * c[i]


@njit(cache=True, nogil=True)
def _touch_at_random(pairs, n_touches):
    """Read and write pairs in an order that no prefetcher predicts; no access depends on another."""
    place, mask = np.uint64(88172645463325252), np.uint64(len(pairs) - 1)
    for _ in range(n_touches):
        place ^= place << np.uint64(13)
        place ^= place >> np.uint64(7)
        place ^= place << np.uint64(17)
        pairs[place & mask, 0] += 1.0


@njit(cache=True, nogil=True)
def touch_codes(codes, pairs):
    """Move the bytes of an epoch in its order: read the codes of each row, read and write their pairs."""
    n_rows, n_tokens = codes.shape
    for i in range(n_rows):
        for j in range(n_tokens):
            code = codes[i, j]
            at = np.uint32(code ^ (code >> 31))
            pairs[at, 0] += 1.0
            pairs[at, 1] += 1.0


@njit(cache=True, nogil=True)
def _count_misses(codes, n_sets, tags, used, pair_bytes):
    n_misses, clock = 0, 0
    for i in range(codes.shape[0]):
        for j in range(codes.shape[1]):
            code = codes[i, j]
            line = np.int64(code ^ (code >> 31)) * pair_bytes // 64
            at = line % n_sets
            clock += 1
            way, oldest = -1, 0
            for k in range(tags.shape[1]):
                if tags[at, k] == line:
                    way = k
                    break
                if used[at, k] < used[at, oldest]:
                    oldest = k
            if way < 0:
                way = oldest
                tags[at, way] = line
                n_misses += 1
            used[at, way] = clock
    return n_misses


def misses_per_row(codes: np.ndarray, *, cache_bytes: int, pair_bytes: int = 16) -> float:
    """Return the mean number of weights per row that miss a simulated cache of that size (16-way, LRU).

    In the real cache the codes take space too, so the true number is slightly higher.
    """
    n_sets = max(1, cache_bytes // (LINE_BYTES * _WAYS))
    tags = np.full((n_sets, _WAYS), -1, dtype=np.int64)
    used = np.zeros((n_sets, _WAYS), dtype=np.int64)
    return _count_misses(codes, n_sets, tags, used, pair_bytes) / len(codes)


def bandwidth(n_bytes: int = 1 << 28) -> dict[str, float]:
    """Return bytes per second of one thread: reading, and STREAM triad (two reads, one write)."""
    a, b, c = (np.ones(n_bytes // 8) for _ in range(3))
    words = a.view(np.int64)
    return {
        "read": n_bytes / best_of(lambda: _read(words)),
        "triad": 3 * n_bytes / best_of(lambda: _triad(a, b, c)),
    }


def random_touch_ns(n_bytes: int, n_touches: int = 4_000_000) -> float:
    """Return nanoseconds per random read and write of a pair of floats, in memory of that size."""
    pairs = np.zeros((n_bytes // 16, 2))
    return best_of(lambda: _touch_at_random(pairs, n_touches)) / n_touches * 1e9


def cache_sizes() -> dict[str, int]:
    """Return the sizes of the L2 and L3 caches in bytes; typical ones where Linux does not report them."""
    sizes = {"L2": 1 << 20, "L3": 32 << 20}
    for place in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            name = f"L{(place / 'level').read_text().strip()}"
            text = (place / "size").read_text().strip()
        except OSError:
            continue
        if name in sizes and text.endswith("K"):
            sizes[name] = int(text[:-1]) << 10
    return sizes
