"""Bounds of memory: simulated caches against hand counts, measured numbers within reason."""

import numpy as np

from bench import memory


def test_a_small_set_of_weights_misses_once():
    """Eight weights of 16 bytes lie in two lines of 64, whatever their signs."""
    codes = np.tile(np.array([[0, ~1, 2, 3], [4, 5, ~6, 7]], dtype=np.int32), (50, 1))
    assert memory.misses_per_row(codes, cache_bytes=1 << 16) == 2 / 100


def test_a_cache_smaller_than_a_cycle_always_misses():
    """LRU's worst case: more lines in a cycle than the cache holds."""
    codes = np.tile(np.arange(0, 4 * 64, 4, dtype=np.int32), 5).reshape(-1, 1)
    assert memory.misses_per_row(codes, cache_bytes=32 * memory.LINE_BYTES) == 1
    assert memory.misses_per_row(codes, cache_bytes=64 * memory.LINE_BYTES) == 1 / 5


def test_touching_counts_every_token():
    """The kernel that only moves memory visits what learning visits."""
    pairs = np.zeros((4, 2))
    memory.touch_codes(np.array([[0, ~1], [1, 3]], dtype=np.int32), pairs)
    assert pairs[:, 0].tolist() == pairs[:, 1].tolist() == [1, 2, 0, 1]


def test_measured_memory_is_within_reason():
    """Between 0.1 and 1000 GB/s, and a random touch costs something."""
    width = memory.bandwidth(1 << 20)
    assert all(1e8 < value < 1e12 for value in width.values())
    assert 0.1 < memory.random_touch_ns(1 << 16, 10_000) < 10_000
    assert set(memory.cache_sizes()) == {"L2", "L3"}
