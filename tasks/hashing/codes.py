"""Codes of tokens: the index of a weight and its sign in one int32; see :mod:`tasks.hashing.contract`."""

import numpy as np

NO_TOKEN = int(np.iinfo(np.int32).min)  # in the place of a code: the row has no token here


def split_codes(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return index (0 to 2**bits - 1) and sign (+1 or -1), int32 arrays of the shape of `codes`.

    Where there is no token both are 0, so that a sum of signed weights is right as it stands.

    Examples
    --------
    >>> [part.tolist() for part in split_codes(np.array([5, -6, NO_TOKEN], dtype=np.int32))]
    [[5, 5, 0], [1, -1, 0]]
    """
    negative = codes >> 31
    index, sign = codes ^ negative, negative | 1
    absent = codes == NO_TOKEN
    if absent.any():
        index[absent] = sign[absent] = 0
    return index, sign
