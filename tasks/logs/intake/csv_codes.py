"""Plain lines of CSV to dictionary columns in one pass: each value is found, hashed and numbered while it is read.

For blocks without quotes, escapes and carriage returns whose lines all have the same number of columns. The columns are those
that Arrow's parser and ``dictionary_encode`` would make, values in order of their first appearance, in about two thirds of their time.
"""

from collections.abc import Mapping

import numba
import numpy as np
import pyarrow as pa

_ONES, _HIGH = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_BREAK = ord("\n")


def coded_columns(
    block: bytes,
    *,
    separator: str,
    n_columns: int,
    places: Mapping[str, int],
    plain: frozenset[str],
) -> dict[str, pa.Array] | None:
    """Return the columns of whole lines, None if a line has not `n_columns` values.

    Parameters
    ----------
    block
        Lines of text in UTF-8 in which quotes, escapes and carriage returns do not occur.
    separator
        One ASCII character.
    n_columns
        Two or more.
    places
        Which columns, by name.
    plain
        Those that become text; the others are dictionaries with int32 codes.
    """
    data = np.frombuffer(block, np.uint8)
    n_rows = block.count(b"\n") + (not block.endswith(b"\n"))
    coded = [name for name in places if name not in plain]
    texts = [name for name in places if name in plain]
    role = np.full(n_columns, -1, dtype=np.int64)
    for number, name in enumerate([*coded, *texts]):
        role[places[name]] = number
    n_slots = 1 << (2 * n_rows - 1).bit_length()
    tables = np.zeros(
        (len(coded), n_slots), dtype=np.int32
    )  # pages that are not touched cost nothing
    codes = np.empty((len(coded), n_rows), dtype=np.int32)
    first = np.empty(
        (len(coded), n_rows, 2), dtype=np.int64
    )  # where each value first stood, and its length
    words = np.empty((len(coded), n_rows), dtype=np.uint64)
    spans = np.empty((len(texts), n_rows, 2), dtype=np.int64)
    n_values = np.zeros(len(coded), dtype=np.int64)
    if not _read(data, ord(separator), n_rows, role, tables, codes, first, words, n_values, spans):
        return None
    found: dict[str, pa.Array] = {}
    for name, row, where, count in zip(coded, codes, first, n_values.tolist(), strict=True):
        found[name] = pa.DictionaryArray.from_arrays(pa.array(row), _texts(data, where[:count]))
    for name, where in zip(texts, spans, strict=True):
        found[name] = _texts(data, where)
    return {name: found[name] for name in places}


def _texts(data: np.ndarray, where: np.ndarray) -> pa.Array:
    offsets, letters = _gather(data, where)
    return pa.StringArray.from_buffers(len(where), pa.py_buffer(offsets), pa.py_buffer(letters))


@numba.njit(cache=True, nogil=True)
def _gather(data, where):
    """Return spans of bytes one after the other, as an Arrow array of text has them."""
    offsets = np.empty(len(where) + 1, dtype=np.int32)
    offsets[0] = 0
    for row in range(len(where)):
        offsets[row + 1] = offsets[row] + where[row, 1]
    letters = np.empty(offsets[-1], dtype=np.uint8)
    for row in range(len(where)):
        start, place = where[row, 0], offsets[row]
        for step in range(where[row, 1]):
            letters[place + step] = data[start + step]
    return offsets, letters


@numba.njit(inline="always")
def _word(data, place, size):
    """Return the next 8 bytes as a number, the first one lowest; beyond the end there are line breaks."""
    found = np.uint64(0)
    if place + np.uint64(8) <= size:
        for step in range(8):
            found |= np.uint64(data[place + np.uint64(step)]) << np.uint64(8 * step)
        return found
    for step in range(8):
        here = place + np.uint64(step)
        letter = np.uint64(data[here]) if here < size else np.uint64(_BREAK)
        found |= letter << np.uint64(8 * step)
    return found


@numba.njit(inline="always")
def _marks(word, pattern):
    """Return a number whose lowest bit shows where the first byte equal to those of the pattern is (Hacker's Delight, 6-1)."""
    same = word ^ pattern
    return (same - _ONES) & ~same & _HIGH


@numba.njit(cache=True, nogil=True)
def _read(data, separator, n_rows, role, tables, codes, first, words, n_values, spans):
    """Read all lines; return whether each of them has as many values as there are roles.

    One function, because arrays given to another are counted at each call. Values are compared, not only their hashes.
    """
    size, mask = np.uint64(data.size), np.uint64(tables.shape[1] - 1)
    between, ending = np.uint64(separator) * _ONES, np.uint64(_BREAK) * _ONES
    n_columns, n_coded, place = len(role), len(codes), np.uint64(0)
    for row in range(n_rows):
        for column in range(n_columns):
            start, state, head, marks = place, _MIX, np.uint64(0), np.uint64(0)
            while not marks:
                word, n_bytes = _word(data, place, size), np.uint64(8)
                marks = _marks(word, between) | _marks(word, ending)
                if marks:
                    low = marks & (~marks + np.uint64(1))
                    n_bytes = (((low - np.uint64(1)) & _ONES) * _ONES >> np.uint64(56)) - np.uint64(
                        1
                    )
                    word &= (np.uint64(1) << (np.uint64(8) * n_bytes)) - np.uint64(1)
                if place == start:
                    head = word
                state = (state ^ word) * _MIX
                state ^= state >> np.uint64(29)
                place += n_bytes
            ends_line = place >= size or data[place] == _BREAK
            if ends_line != (column == n_columns - 1):
                return False
            begin, length, kind = np.int64(start), np.int64(place - start), role[column]
            place += np.uint64(1)
            if kind >= n_coded:
                spans[kind - n_coded, row, 0], spans[kind - n_coded, row, 1] = begin, length
            if kind < 0 or kind >= n_coded:
                continue
            slot = ((state ^ np.uint64(length)) * _MIX >> np.uint64(32)) & mask
            while True:
                code = tables[kind, slot] - 1
                if code < 0:
                    code = n_values[kind]
                    n_values[kind], tables[kind, slot] = code + 1, code + 1
                    first[kind, code, 0], first[kind, code, 1] = begin, length
                    words[kind, code] = head
                    break
                if words[kind, code] == head and first[kind, code, 1] == length:
                    before, step = first[kind, code, 0], 8
                    while step < length and data[before + step] == data[begin + step]:
                        step += 1
                    if step >= length:
                        break
                slot = (slot + np.uint64(1)) & mask
            codes[kind, row] = code
    return place >= size
