"""SplitMix64: compiled, on arrays, and as published."""

import numpy as np

from tasks.models.kernels.splitmix import GOLDEN_GAMMA, mix64, mix64_compiled


def naive(word: int) -> int:
    """Return the mixed word in Python's unbounded integers."""
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
    return word ^ word >> 31


def test_the_published_sequence_comes_out():
    """The first numbers of the reference implementation for seed 1234567."""
    states = np.uint64(1234567) + np.arange(1, 6, dtype=np.uint64) * GOLDEN_GAMMA
    assert mix64(states).tolist() == [
        6457827717110365317, 3203168211198807973, 9817491932198370423,
        4593380528125082431, 16408922859458223821,
    ]  # fmt: skip


def test_arrays_and_kernels_agree_with_python():
    """The extreme words too."""
    words = np.random.default_rng(3).integers(0, 2**64, 1000, dtype=np.uint64)
    words[:2] = 0, 2**64 - 1
    expected = [naive(word) for word in words.tolist()]
    assert mix64(words).tolist() == expected
    assert [int(mix64_compiled(word)) for word in words] == expected
