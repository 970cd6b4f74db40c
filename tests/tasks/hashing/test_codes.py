"""Codes are taken apart, and what is no token adds nothing."""

import numpy as np

from tasks.hashing.codes import NO_TOKEN, split_codes


def test_no_token_has_neither_index_nor_sign():
    """A sum of signed weights leaves it out."""
    index, sign = split_codes(np.array([[5, -6], [NO_TOKEN, 0]], dtype=np.int32))
    assert index.tolist() == [[5, 5], [0, 0]]
    assert sign.tolist() == [[1, -1], [0, 1]]
