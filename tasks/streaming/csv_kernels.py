"""The loops of :mod:`tasks.streaming.csv_codes`: bytes of CSV to codes, compiled once and cached on disk.

The hash is that of :mod:`tasks.hashing.murmur`, on four bytes at a time wherever they lie; that both
agree is tested. All kernels live in this one file, because Numba's cache follows the outer function's.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy import int32, int64, uint32, uint64

LABEL, TIME, SKIP = -1, -2, -3  # what a column is for, if not a token; those count from 0
_ONES, _HIGH = uint64(0x0101010101010101), uint64(0x8080808080808080)
_as_function: Any = intrinsic  # Numba adds the first argument of a call


@_as_function
def _load_32(typing_context, address):
    def codegen(context, builder, signature, args):
        word = builder.load(builder.inttoptr(args[0], ir.IntType(32).as_pointer()))
        word.align = 1
        return word

    return types.uint32(types.int64), codegen


@_as_function
def _load_64(typing_context, address):
    def codegen(context, builder, signature, args):
        word = builder.load(builder.inttoptr(args[0], ir.IntType(64).as_pointer()))
        word.align = 1
        return word

    return types.uint64(types.int64), codegen


@_as_function
def _trailing_zeros(typing_context, word):
    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), codegen


@njit(cache=True, nogil=True)
def count_rows(block, n_bytes):
    """Return the number of lines, or -1 if there is a byte that plain CSV does not have."""
    words = block[: n_bytes // 8 * 8].view(np.uint64)
    odd, n_rows = uint64(0), uint64(0)
    for i in range(words.size):
        word = words[i]
        quote, carriage = word ^ (_ONES * uint64(34)), word ^ (_ONES * uint64(13))
        odd |= word | _zeros(word) | _zeros(quote) | _zeros(carriage)
        line = word ^ (_ONES * uint64(10))
        ends = ~(((line & ~_HIGH) + ~_HIGH) | line) & _HIGH  # exact in every byte, unlike _zeros
        n_rows += (ends >> uint64(7)) * _ONES >> uint64(56)
    for i in range(words.size * 8, n_bytes):
        byte = block[i]
        n_rows += uint64(byte == 10)
        if byte == 34 or byte == 13 or byte == 0 or byte > 127:
            return -1
    return -1 if odd & _HIGH else int64(n_rows)


@njit(cache=True, nogil=True)
def _zeros(word):
    """Return bits that are set in the high bit of the lowest byte that is 0, and maybe above, if there is one."""
    return (word - _ONES) & ~word & _HIGH


@njit(cache=True, nogil=True)
def _scramble(word):
    word = uint32(word * uint32(0xCC9E2D51))
    word = uint32((word << uint32(15)) | (word >> uint32(17)))
    return uint32(word * uint32(0x1B873593))


@njit(cache=True, nogil=True)
def _mix(state, word):
    state = uint32(state ^ _scramble(word))
    state = uint32((state << uint32(13)) | (state >> uint32(19)))
    return uint32(state * uint32(5) + uint32(0xE6546B64))


@njit(cache=True, nogil=True)
def _code_of(start, stop, state, carry, n_prefix, mask):
    """Return the code of a prefix and the bytes between two addresses."""
    n_bytes = uint32(int64(n_prefix) + stop - start)
    n_left = uint64(n_prefix) & uint64(3)
    shift, held = n_left * uint64(8), uint64(carry)
    while start + 4 <= stop:
        held |= uint64(_load_32(start)) << shift
        state = _mix(state, uint32(held))
        held >>= uint64(32)
        start += 4
    n_rest = uint64(stop - start)
    rest = uint64(_load_32(start)) & ((uint64(1) << (uint64(8) * n_rest)) - uint64(1))
    held |= rest << shift
    if n_left + n_rest >= uint64(4):
        state = _mix(state, uint32(held))
        held >>= uint64(32)
    state = uint32(state ^ _scramble(uint32(held)))  # of nothing left it is 0
    state = uint32(state ^ n_bytes)
    state = uint32((state ^ (state >> uint32(16))) * uint32(0x85EBCA6B))
    state = uint32((state ^ (state >> uint32(13))) * uint32(0xC2B2AE35))
    signed = int32(state ^ (state >> uint32(16)))
    negative = signed >> 31
    return int32(int32(int64(abs(int64(signed))) & mask) ^ negative)


@njit(cache=True, nogil=True)
def _end_of_field(place):
    """Return the address of the next comma or line break; eight bytes are looked at together."""
    while True:
        word = _load_64(place)
        hit = _zeros(word ^ (_ONES * uint64(44))) | _zeros(word ^ (_ONES * uint64(10)))
        if hit:
            return place + (_trailing_zeros(hit) >> 3)
        place += 8


@njit(cache=True, nogil=True)
def _are_same(one, other, n_bytes):
    """Return whether the bytes at two addresses are equal."""
    differ = uint32(0)
    for i in range(n_bytes):
        differ = (_load_32(one + i) ^ _load_32(other + i)) & uint32(255)
        if differ:
            break
    return differ == 0


@njit(cache=True, nogil=True)
def parse_rows(base, roles, prefixes, bits, codes, labels, times):
    """Fill codes and labels, note where runs of one time begin, and return their number; -1 if not plain."""
    state, carry, n_prefix = prefixes
    mask = (int64(1) << int64(bits)) - 1
    n_columns = roles.size
    place, n_runs = int64(base), 0
    last_time, last_length = int64(0), int64(-1)
    for row in range(labels.size):
        for column in range(n_columns):
            stop = _end_of_field(place)
            ends_line = (_load_32(stop) & uint32(255)) == uint32(10)
            if ends_line != (column == n_columns - 1):
                return -1
            role = roles[column]
            if role >= 0:
                codes[row, role] = _code_of(
                    place, stop, state[role], carry[role], n_prefix[role], mask
                )
            elif role == LABEL:
                label = (_load_32(place) & uint32(255)) - uint32(48)
                if stop - place != 1 or label > uint32(1):
                    return -1
                labels[row] = label
            elif role == TIME:
                length = stop - place
                if length != last_length or not _are_same(place, last_time, length):
                    times[n_runs, 0] = row
                    times[n_runs, 1] = place - base
                    times[n_runs, 2] = stop - base
                    n_runs += 1
                last_time, last_length = place, length
            place = stop + 1
    return n_runs
