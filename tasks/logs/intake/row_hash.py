"""64-bit hashes of texts and of whole rows: what content digests and duplicate checks compare.

A row's hash follows from its values alone, not from how a batch codes them.
"""

import numba
import numpy as np
import pyarrow as pa

_PRIME = np.uint64(0x100000001B3)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_NULL = np.uint64(0x5851F42D4C957F2D)


@numba.njit(cache=True, nogil=True)
def _hash_spans(data, offsets, seed):
    out = np.empty(offsets.size - 1, dtype=np.uint64)
    for row in range(out.size):
        state = np.uint64(0xCBF29CE484222325) ^ seed
        for place in range(offsets[row], offsets[row + 1]):
            state = (state ^ np.uint64(data[place])) * _PRIME
        state ^= state >> np.uint64(32)
        state *= _MIX
        out[row] = state ^ (state >> np.uint64(29))
    return out


@numba.njit(cache=True, nogil=True)
def _fold_codes(state, hashes, codes):
    for row in range(state.size):
        value = hashes[codes[row]] if codes[row] >= 0 else _NULL
        rotated = (state[row] << np.uint64(5)) | (state[row] >> np.uint64(59))
        state[row] = (rotated ^ value) * _MIX


def hash_texts(texts: pa.Array, *, seed: int = 0) -> np.ndarray:
    """Return the hash of each text, uint64; another `seed` gives independent ones.

    Notes
    -----
    FNV-1a over the UTF-8 bytes (Fowler, Noll, Vo), finished by multiplication, because FNV's high
    bits alone are weak for short texts.
    """
    if not len(texts):
        return np.zeros(0, dtype=np.uint64)
    if texts.type != pa.string():
        texts = texts.cast(pa.string())
    _, offsets, data = texts.buffers()
    places = np.frombuffer(offsets, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    letters = (
        np.frombuffer(data, dtype=np.uint8)
        if data is not None and data.size
        else np.zeros(0, dtype=np.uint8)
    )
    return _hash_spans(letters, places, np.uint64(seed * 0x632BE59BD9B4E019 & (2**64 - 1)))


def hash_rows(batch: pa.RecordBatch, *, keys: np.ndarray | None = None) -> np.ndarray:
    """Return the hash of each row of a canonical batch, uint64; `keys` are hashes of its text column."""
    state = np.full(batch.num_rows, _MIX, dtype=np.uint64)
    identity = np.arange(batch.num_rows, dtype=np.int32)
    identity.flags.writeable = False
    for column in batch.columns:
        if pa.types.is_dictionary(column.type):
            _fold_codes(state, hash_texts(column.dictionary), codes_of(column))
        elif pa.types.is_string(column.type):
            _fold_codes(state, keys if keys is not None else hash_texts(column), identity)
        else:
            _fold_codes(state, _bits(column), identity)
    return state


def codes_of(column: pa.DictionaryArray) -> np.ndarray:
    """Return the codes of a dictionary column, int32, -1 where null; read-only."""
    codes = column.indices.fill_null(-1) if column.indices.null_count else column.indices
    view = codes.to_numpy(zero_copy_only=False).view()
    view.flags.writeable = False  # one kind of array, so that the kernels are compiled once
    return view


def _bits(column: pa.Array) -> np.ndarray:
    if pa.types.is_floating(column.type):
        return column.to_numpy(zero_copy_only=False).astype(np.float64).view(np.uint64)
    return column.cast(pa.int64()).to_numpy(zero_copy_only=False).view(np.uint64)
