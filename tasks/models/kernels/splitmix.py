"""Random numbers that follow from their number alone, so that no order of drawing changes them.

References
----------
Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators", the output function of
SplitMix64 with Stafford's variant 13 of the mixer.
"""

from typing import Any

import numpy as np
from numba import njit

GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mix64(word: Any) -> Any:
    """Return the 64 mixed bits of `word`, a ``uint64`` or an array of them; a bijection.

    Examples
    --------
    >>> [hex(word) for word in mix64(np.array([0, GOLDEN_GAMMA], dtype=np.uint64)).tolist()]
    ['0x0', '0xe220a8397b1dcdaf']
    """
    word = (word ^ (word >> np.uint64(30))) * _FIRST
    word = (word ^ (word >> np.uint64(27))) * _SECOND
    return word ^ (word >> np.uint64(31))


# for kernels elsewhere: Numba's cache would not notice a change here, but the function is fixed by its literature
mix64_compiled = njit(cache=True, nogil=True)(mix64)
