"""Batches of rows to codes.

A live request goes through the same kernel of :mod:`tasks.hashing.murmur`
(:mod:`tasks.hashing.row_encoder`); that both agree with each other and with scikit-learn's
``FeatureHasher`` is tested on arbitrary rows.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tasks.errors import ConfigError, InputError
from tasks.hashing import murmur
from tasks.hashing.buckets import bucket_column
from tasks.hashing.codes import NO_TOKEN
from tasks.hashing.columns import Column, Texts, read_column, read_only, rows_of
from tasks.hashing.contract import HashContract
from tasks.hashing.features.columns import Faults, derive, remembered
from tasks.hashing.moments import read_moments

_SPARSE = 4  # a dictionary this many times longer than the batch: hashing all of it in order is still faster than random access


def columns_of(contract: HashContract) -> list[str]:
    """Return the columns that encoding reads, for a reader that can leave out the others."""
    return [*contract.fields, *([contract.time_column] if contract.reads_time else [])]


def encode_batch(
    batch: pa.RecordBatch | pa.Table,
    contract: HashContract,
    *,
    out: np.ndarray | None = None,
    faults: Faults | None = None,
) -> np.ndarray:
    """Return the codes of all rows, int32, shape ``(n_rows, n_tokens)``, C-contiguous.

    Parameters
    ----------
    batch
        Holds every column of :func:`columns_of`; others are ignored. Dictionary columns are fastest:
        each distinct value is hashed once.
    contract
        What to hash, and how.
    out
        Array of that shape and type to write into.
    faults
        Counts the rows in which a feature fails; their token is that of a missing value either way.

    Raises
    ------
    InputError
        If a column is missing or its type is not one that has tokens.
    ConfigError
        If `out` has the wrong shape or type.
    """
    shape = (batch.num_rows, contract.n_tokens)
    if out is None:
        out = np.empty(shape, dtype=np.int32)
    elif out.shape != shape or out.dtype != np.int32 or not out.flags.c_contiguous:
        raise ConfigError(
            f"out must be a C-contiguous int32 array of shape {shape}, found {out.dtype} {out.shape}"
        )
    begin = 0
    for part in record_batches(batch, contract):
        _encode_part(part, contract, out[begin : begin + part.num_rows], faults)
        begin += part.num_rows
    return out


def token_columns(
    batch: pa.RecordBatch, contract: HashContract, faults: Faults | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yield, for each token column but those of lists, the signed 32-bit hashes of its distinct tokens and each row's entry.

    The last hash is the missing value's; without entries (None) row i holds hash i.
    """
    for prefix, (texts, indices) in zip(
        token_prefixes(contract), _columns(batch, contract, faults), strict=False
    ):
        if indices is None or texts.n_texts <= _SPARSE * batch.num_rows:
            hashes = np.empty(texts.n_texts + 1, dtype=np.int32)
            murmur.hash_texts(*prefix, texts.offsets, texts.data, hashes)
            yield hashes, indices
        else:
            hashes = np.empty(batch.num_rows + 1, dtype=np.int32)
            murmur.hash_rows(*prefix, texts.offsets, texts.data, indices, hashes)
            yield hashes, None


class Items(NamedTuple):
    """The tokens of a list column: list ``i`` has ``hashes[begins[i]:begins[i + 1]]``."""

    hashes: np.ndarray  # int32, signed
    begins: np.ndarray  # int64
    rows: np.ndarray  # int32, the list of each row
    texts: np.ndarray  # int32, the entry among the column's texts of each list
    n_left_out: int  # items beyond the maximum, in all rows


def list_columns(batch: pa.RecordBatch, contract: HashContract) -> Iterator[Items]:
    """Yield the tokens of each list; each distinct list is taken apart once, but not more of them than there are rows."""
    prefixes = token_prefixes(contract)[contract.n_alone :]
    for name, n_most in contract.lists:
        column = read_column(batch.column(name), name=name)
        yield _items(column, prefixes[0], n_most)
        prefixes = prefixes[n_most:]


def _items(column: Column, prefix: murmur.Prefix, n_most: int) -> Items:
    (offsets, data), rows = column.texts, rows_of(column)
    every = np.arange(column.texts.n_texts + 1, dtype=np.int32)
    texts = every
    if len(every) > len(rows) + 1:
        texts, rows = rows, every[: len(rows)]
    n_letters = int(offsets[-1]) if texts is every else int(_lengths(offsets)[texts].sum())
    hashes = np.empty(min(len(texts) * n_most, n_letters + len(texts)), dtype=np.int32)
    begins = np.empty(len(texts) + 1, dtype=np.int64)
    left_out = np.empty(len(texts), dtype=np.int64)
    murmur.hash_items(prefix, offsets, data, read_only(texts), n_most, begins, left_out, hashes)
    n_left_out = int(left_out[rows].sum()) if left_out.any() else 0
    return Items(hashes[: begins[-1]], begins, read_only(rows), texts, n_left_out)


def _lengths(offsets: np.ndarray) -> np.ndarray:
    """Return the length of each text, and of a missing one, in bytes."""
    return np.append(np.diff(offsets), 0)


def record_batches(
    batch: pa.RecordBatch | pa.Table, contract: HashContract
) -> Iterator[pa.RecordBatch]:
    """Yield the batch in pieces that lie in one chunk each, with just the columns that encoding reads."""
    names = batch.schema.names
    for name in columns_of(contract):
        if names.count(name) != 1:
            found = "is missing from" if name not in names else "occurs twice in"
            raise InputError(f"column {name!r} {found} the batch; its columns are {names}")
    part = batch.select(columns_of(contract))
    yield from part.to_batches() if isinstance(part, pa.Table) else [part]


def _encode_part(
    batch: pa.RecordBatch, contract: HashContract, out: np.ndarray, faults: Faults | None
) -> None:
    if batch.num_rows == 0:
        return
    columns = list(token_columns(batch, contract, faults))
    if columns:
        tables, indices = zip(*columns, strict=True)
        for table in tables:
            murmur.fold_hashes(table, contract.bits)
        murmur.gather(tables, indices, out)
    begin = contract.n_alone
    for (name, n_most), items in zip(contract.lists, list_columns(batch, contract), strict=True):
        murmur.fold_hashes(items.hashes, contract.bits)
        into = out[:, begin : begin + n_most]
        murmur.spread_items(items.hashes, items.begins, items.rows, into, NO_TOKEN)
        if faults is not None and items.n_left_out:
            faults.left_out[name] += items.n_left_out
        begin += n_most


def single_columns(
    batch: pa.RecordBatch, contract: HashContract, faults: Faults | None = None
) -> dict[str, Column]:
    """Return the texts of each token column but crosses and lists of a batch from :func:`record_batches`."""
    known, moments = field_columns(batch, contract), moments_of(batch, contract)
    derived = derive(remembered(contract), known, moments, faults)
    known |= {name: bucket_column(batch.column(name), edges) for name, edges in contract.numbers}
    return {name: known[name] for name in contract.single_fields} | derived


def field_columns(batch: pa.RecordBatch, contract: HashContract) -> dict[str, Column]:
    """Return the texts of each category of a batch, and of the numbers that features read."""
    read = {name for key in contract.features for name in key.inputs}
    names = set(contract.single_fields) - ({name for name, _ in contract.numbers} - read)
    return {
        name: read_column(batch.column(name), name=name)
        for name in contract.single_fields
        if name in names
    }


def moments_of(batch: pa.RecordBatch, contract: HashContract) -> np.ndarray | None:
    """Return the time of each row of a batch in milliseconds, None if no feature reads it."""
    if not contract.reads_time:
        return None
    return read_moments(batch.column(contract.time_column), contract)


def _columns(
    batch: pa.RecordBatch, contract: HashContract, faults: Faults | None
) -> Iterator[Column]:
    known = single_columns(batch, contract, faults)
    yield from known.values()
    for cross in contract.crosses:
        joined = known[cross[0]]
        for name in cross[1:]:
            joined = _cross(joined, known[name])
        yield joined


def _cross(left: Column, right: Column) -> Column:
    """Return the distinct ``left*right`` texts of the rows and each row's entry; a pair is joined once."""
    n_right = right.texts.n_texts + 1
    pairs = rows_of(left).astype(np.int64) * n_right + rows_of(right)
    coded = pa.array(pairs).dictionary_encode()
    left_texts, right_texts = np.divmod(coded.dictionary.to_numpy(), n_right)
    offsets, data = murmur.join_texts(
        left_texts, _widened(left.texts), right_texts, _widened(right.texts)
    )
    return Column(Texts(read_only(offsets), read_only(data)), read_only(coded.indices.to_numpy()))


def _widened(texts: Texts) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.append(texts.offsets, texts.offsets[-1]).astype(
        np.int64
    )  # the entry past the end is empty
    return offsets, texts.data


@lru_cache(maxsize=64)
def token_prefixes(contract: HashContract) -> list[murmur.Prefix]:
    """Return the hash state after ``name=`` of each token column."""
    return [murmur.prefix_of(name, seed=contract.seed) for name in contract.token_fields]
