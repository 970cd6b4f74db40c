"""MurmurHash3 (x86, 32 bit) and the loops around it, compiled once and cached on disk.

All kernels live in this one file: Numba's cache follows the file of the outer function only, so a
changed kernel imported from elsewhere would go unnoticed.

A token is a prefix (``field=``), the same for a whole column, and a value. The hash state after the
prefix is worked out once; the up to three prefix bytes that do not fill a block are carried into
the first block of each value, so that no token is ever put together in memory.

References
----------
Austin Appleby, MurmurHash3.cpp (public domain), ``MurmurHash3_x86_32``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy import int32, int64, uint8, uint32, uint64

SEPARATOR = b"\xff"  # ends a value in the buffer of a row; no UTF-8 text holds this byte


class Prefixes(NamedTuple):
    """Hash states after each token's prefix, one entry a token column."""

    state: np.ndarray  # uint32, after the prefix's whole blocks
    carry: np.ndarray  # uint32, the bytes left over
    n_bytes: np.ndarray  # uint32, length of the prefix


def prefixes_of(names: Sequence[str], *, seed: int) -> Prefixes:
    """Return the states after ``name=`` for each of `names`."""
    tokens = [f"{name}=".encode() for name in names]
    states = np.empty((3, len(tokens)), dtype=np.uint32)
    for j, token in enumerate(tokens):
        states[:, j] = _prefix_state(np.frombuffer(token, dtype=np.uint8), np.uint32(seed))
    return Prefixes(*states)


@njit(cache=True, nogil=True)
def _scramble(block):
    block = uint32(block * uint32(0xCC9E2D51))
    block = uint32((block << uint32(15)) | (block >> uint32(17)))
    return uint32(block * uint32(0x1B873593))


@njit(cache=True, nogil=True)
def _mix(state, block):
    state = uint32(state ^ _scramble(block))
    state = uint32((state << uint32(13)) | (state >> uint32(19)))
    return uint32(state * uint32(5) + uint32(0xE6546B64))


@njit(cache=True, nogil=True)
def _prefix_state(token, seed):
    state, carry = uint32(seed), uint32(0)
    n_whole = token.size // 4 * 4
    for i in range(0, n_whole, 4):
        word = uint32(token[i]) | uint32(token[i + 1]) << uint32(8)
        word |= uint32(token[i + 2]) << uint32(16) | uint32(token[i + 3]) << uint32(24)
        state = _mix(state, uint32(word))
    for i in range(n_whole, token.size):
        carry = uint32(carry | uint32(token[i]) << uint32(8 * (i - n_whole)))
    return state, carry, uint32(token.size)


@njit(cache=True, nogil=True)
def _hash_value(state, carry, n_prefix, data, start, stop):
    """Return the signed hash of prefix + data[start:stop]; all numbers are unsigned until the end."""
    n_left = uint64(n_prefix) & uint64(3)
    shift = n_left * uint64(8)
    held = uint64(carry)
    i = start
    whole = start + ((stop - start) & ~uint64(3))
    while i < whole:
        word = uint32(data[i]) | uint32(data[i + uint64(1)]) << uint32(8)
        word |= uint32(data[i + uint64(2)]) << uint32(16) | uint32(data[i + uint64(3)]) << uint32(24)
        held |= uint64(uint32(word)) << shift
        state = _mix(state, uint32(held))
        held >>= uint64(32)
        i += uint64(4)
    while i < stop:
        held |= uint64(data[i]) << (uint64(8) * n_left)
        n_left += uint64(1)
        i += uint64(1)
    if n_left >= uint64(4):
        state = _mix(state, uint32(held))
        held >>= uint64(32)
        n_left -= uint64(4)
    if n_left > uint64(0):
        state = uint32(state ^ _scramble(uint32(held)))
    state = uint32(state ^ uint32(uint64(n_prefix) + stop - start))
    state = uint32((state ^ (state >> uint32(16))) * uint32(0x85EBCA6B))
    state = uint32((state ^ (state >> uint32(13))) * uint32(0xC2B2AE35))
    return int32(state ^ (state >> uint32(16)))


@njit(cache=True, nogil=True)
def _fold(signed_hash, mask):
    """Return the code of one hash: abs(h) % 2**bits, inverted where h is negative."""
    if signed_hash >= 0:
        return int32(signed_hash & mask)
    return int32(~int32((-int64(signed_hash)) & int64(mask)))


@njit(cache=True, nogil=True)
def hash_texts(state, carry, n_prefix, offsets, data, out):
    """Write the signed hash of prefix + text for every text in an Arrow-like offsets/data pair."""
    for i in range(out.size):
        out[i] = _hash_value(state, carry, n_prefix, data, uint64(offsets[i]), uint64(offsets[i + 1]))


@njit(cache=True, nogil=True)
def fold_hashes(hashes, bits, out):
    """Write the code of every signed hash; `out` may be `hashes`."""
    mask = int32((int64(1) << int64(bits)) - 1)
    for i in range(hashes.size):
        out[i] = _fold(hashes[i], mask)


@njit(cache=True, nogil=True)
def gather(table, indices, begin, end, column, out):
    """Write ``out[i, column] = table[indices[i]]`` for the rows from `begin` to `end`."""
    for i in range(begin, end):
        out[i, column] = table[indices[i]]


@njit(cache=True, nogil=True)
def hash_row(data, state, carry, n_prefix, bits, out):
    """Write the codes of one row, its values in `data` with 0xFF between them."""
    mask = int32((int64(1) << int64(bits)) - 1)
    start, n_bytes = uint64(0), uint64(data.size)
    for j in range(out.size):
        stop = start
        while stop < n_bytes and data[stop] != uint8(0xFF):
            stop += uint64(1)
        out[j] = _fold(_hash_value(state[j], carry[j], n_prefix[j], data, start, stop), mask)
        start = stop + uint64(1)


@njit(cache=True, nogil=True)
def joined_sizes(left, left_offsets, right, right_offsets, out):
    """Write the offsets of ``left*right`` texts and return the bytes they need."""
    total = int64(0)
    out[0] = 0
    for i in range(left.size):
        total += left_offsets[left[i] + 1] - left_offsets[left[i]]
        total += right_offsets[right[i] + 1] - right_offsets[right[i]] + 1
        out[i + 1] = total
    return total


@njit(cache=True, nogil=True)
def join_texts(left, left_offsets, left_data, right, right_offsets, right_data, out):
    """Write ``left*right`` texts one after the other."""
    at = 0
    for i in range(left.size):
        for source in range(left_offsets[left[i]], left_offsets[left[i] + 1]):
            out[at] = left_data[source]
            at += 1
        out[at] = uint8(42)
        at += 1
        for source in range(right_offsets[right[i]], right_offsets[right[i] + 1]):
            out[at] = right_data[source]
            at += 1
