"""MurmurHash3 (x86, 32 bit) and the loops around it, compiled once and cached on disk.

All kernels live in this one file: Numba's cache follows the file of the outer function only, so a
changed kernel imported from elsewhere would go unnoticed.

A token is a prefix (``field=``), the same for a whole column, and a value. The hash state after the
prefix is worked out once; the up to three prefix bytes that do not fill a block are carried into
the first block of each value, so that no token is ever assembled in memory.

References
----------
Austin Appleby, MurmurHash3.cpp (public domain), ``MurmurHash3_x86_32``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic
from numpy import int32, int64, uint8, uint32, uint64

GATHER_ROWS = 256  # x 22 tokens x 4 bytes: half of an L1 cache
SEPARATOR = b"\xff"  # ends a value in the buffer of a row; no UTF-8 text holds this byte


class Prefix(NamedTuple):
    """The hash state after the prefix of a token."""

    state: np.uint32  # after its whole blocks
    carry: np.uint32  # the bytes left over
    n_bytes: np.uint32


def prefix_of(name: str, *, seed: int) -> Prefix:
    """Return the state after ``name=``."""
    token = np.frombuffer(f"{name}=".encode(), dtype=np.uint8)
    return Prefix(*map(np.uint32, _prefix_state(token, np.uint32(seed))))


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
        word |= uint32(data[i + uint64(2)]) << uint32(16) | uint32(data[i + uint64(3)]) << uint32(
            24
        )
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
    """Write the signed hash of prefix + text for every text in Arrow's offsets and data, and of no text last."""
    n_texts = offsets.size - 1
    for i in range(n_texts):
        out[i] = _hash_value(
            state, carry, n_prefix, data, uint64(offsets[i]), uint64(offsets[i + 1])
        )
    out[n_texts] = _hash_value(state, carry, n_prefix, data, uint64(0), uint64(0))


@njit(cache=True, nogil=True)
def hash_rows(state, carry, n_prefix, offsets, data, indices, out):
    """Do as `hash_texts`, but for the text of each row: for few rows with a large dictionary."""
    n_texts = offsets.size - 1
    nothing = _hash_value(state, carry, n_prefix, data, uint64(0), uint64(0))
    for i in range(indices.size):
        at = indices[i]
        out[i] = nothing
        if at < n_texts:
            out[i] = _hash_value(
                state, carry, n_prefix, data, uint64(offsets[at]), uint64(offsets[at + 1])
            )
    out[indices.size] = nothing


@njit(cache=True, nogil=True)
def fold_hashes(hashes, bits):
    """Replace every signed hash by its code."""
    mask = int32((int64(1) << int64(bits)) - 1)
    for i in range(hashes.size):
        hashes[i] = _fold(hashes[i], mask)


@intrinsic
def _int32_at(typing_context, address):
    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.int32)(types.int64), codegen


@njit(cache=True, nogil=True)
def _gather(tables, indices, out, block_rows):
    n_rows, n_columns = out.shape[0], tables.size
    for begin in range(0, n_rows, block_rows):
        end = min(begin + block_rows, n_rows)
        for j in range(n_columns):
            table = carray(_int32_at(tables[j]), n_rows)  # type: ignore[call-arg]  # Numba adds the context
            if indices[j] == 0:
                for i in range(begin, end):
                    out[i, j] = table[i]
            else:
                rows = carray(_int32_at(indices[j]), n_rows)  # type: ignore[call-arg]
                for i in range(begin, end):
                    out[i, j] = table[rows[i]]


def gather(
    tables: Sequence[np.ndarray], indices: Sequence[np.ndarray | None], out: np.ndarray
) -> None:
    """Write ``out[i, j] = tables[j][indices[j][i]]``; without indices ``tables[j][i]``; further columns stay.

    All arrays are int32 and C-contiguous. They are handed over by address, so that one compiled
    loop serves any number of columns, and a block of rows is filled while it is in the L1 cache.
    """
    for array in (*tables, *(rows for rows in indices if rows is not None)):
        if array.dtype != np.int32 or not array.flags.c_contiguous:
            raise TypeError("gather needs C-contiguous int32 arrays")
    addresses = np.array([table.ctypes.data for table in tables], dtype=np.int64)
    row_addresses = np.array(
        [0 if rows is None else rows.ctypes.data for rows in indices], dtype=np.int64
    )
    _gather(addresses, row_addresses, out, GATHER_ROWS)


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
def hash_items(prefix, offsets, data, entries, n_most, begins, left_out, out):
    """Write the signed hash of prefix + item for each item of some texts, which have 0x1F between items.

    Parameters
    ----------
    prefix
        The column's state, carry and length.
    offsets, data
        Texts as Arrow lays them out; the one past the last is missing and, like an empty one, has one empty item.
    entries
        The texts to take apart.
    n_most
        Maximum number of items per text.
    begins, left_out
        Receive where the items of each entry begin in `out` (one more number is where the last ones end), and how many
        items each has beyond the maximum.
    out
        Receives the hashes: of at most `n_most` per entry, and not more than there are letters and entries.
    """
    state, carry, n_prefix = prefix
    words, hashes = np.zeros(4096, dtype=np.uint64), np.empty(4096, dtype=np.int32)  # short items
    n_texts, n_hashed = offsets.size - 1, int64(0)
    for i in range(entries.size):
        begins[i] = n_hashed
        entry = min(entries[i], n_texts - 1)
        at = stop = uint64(0)
        if entries[i] < n_texts:
            at, stop = uint64(offsets[entry]), uint64(offsets[entry + 1])
        last = n_hashed + n_most
        while n_hashed < last and at <= stop:
            begin, word = at, uint64(1)  # the 1 tells apart items that differ in leading zero bytes
            while at < stop and data[at] != uint8(0x1F):
                word = (word << uint64(8)) | uint64(data[at])
                at += uint64(1)
            slot = (word * uint64(0x9E3779B97F4A7C15)) >> uint64(52)
            if at - begin > uint64(7):
                hashed = _hash_value(state, carry, n_prefix, data, begin, at)
            elif words[slot] == word:
                hashed = hashes[slot]
            else:
                hashed = _hash_value(state, carry, n_prefix, data, begin, at)
                words[slot], hashes[slot] = word, hashed
            out[n_hashed] = hashed
            n_hashed += 1
            at += uint64(1)
        left_out[i] = 0
        if at <= stop:
            left_out[i] = 1
            while at < stop:
                left_out[i] += data[at] == uint8(0x1F)
                at += uint64(1)
    begins[entries.size] = n_hashed


@njit(cache=True, nogil=True)
def spread_items(codes, begins, rows, out, no_token):
    """Write the codes of the items of each row's text to `out`, and `no_token` where there are no more."""
    for i in range(rows.size):
        begin = begins[rows[i]]
        n_items = begins[rows[i] + 1] - begin
        for j in range(out.shape[1]):
            out[i, j] = codes[begin + j] if j < n_items else no_token


@njit(cache=True, nogil=True)
def hash_between(begin, end, offsets, data, rows, prefix, bits, out):
    """Write the code of begin + text + end for the text of each row, in Arrow's offsets and data.

    `begin` and `end` are bytes, `prefix` the column's state, carry and length.
    """
    mask = int32((int64(1) << int64(bits)) - 1)
    n_begin, n_longest = begin.size, 0
    for i in range(rows.size):
        n_longest = max(n_longest, offsets[rows[i] + 1] - offsets[rows[i]])
    whole = np.empty(n_begin + n_longest + end.size, dtype=np.uint8)
    whole[:n_begin] = begin
    for i in range(rows.size):
        at = n_begin
        for source in range(offsets[rows[i]], offsets[rows[i] + 1]):
            whole[at] = data[source]
            at += 1
        for source in range(end.size):
            whole[at] = end[source]
            at += 1
        hashed = _hash_value(prefix[0], prefix[1], prefix[2], whole, uint64(0), uint64(at))
        out[i] = _fold(hashed, mask)


@njit(cache=True, nogil=True)
def join_texts(left, left_texts, right, right_texts):
    """Return offsets and data of the texts ``left*right``; sides are entries and (int64 offsets, data)."""
    left_offsets, left_data = left_texts
    right_offsets, right_data = right_texts
    offsets = np.zeros(left.size + 1, dtype=np.int64)
    for i in range(left.size):
        n_left = left_offsets[left[i] + 1] - left_offsets[left[i]]
        n_right = right_offsets[right[i] + 1] - right_offsets[right[i]]
        offsets[i + 1] = offsets[i] + n_left + 1 + n_right
    data = np.empty(offsets[-1], dtype=np.uint8)
    at = 0
    for i in range(left.size):
        for source in range(left_offsets[left[i]], left_offsets[left[i] + 1]):
            data[at] = left_data[source]
            at += 1
        data[at] = uint8(42)  # "*"
        at += 1
        for source in range(right_offsets[right[i]], right_offsets[right[i] + 1]):
            data[at] = right_data[source]
            at += 1
    return offsets, data
