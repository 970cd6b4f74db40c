"""Rows to codes: a batch of Arrow columns, or the one row of a live request.

Both go through the same kernel of :mod:`tasks.hashing.murmur`; that they agree with each other and
with scikit-learn's ``FeatureHasher`` is tested on arbitrary rows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.errors import ConfigError, InputError
from tasks.hashing import murmur
from tasks.hashing.columns import Column, Texts, read_column, read_only
from tasks.hashing.contract import HashContract
from tasks.hashing.moments import (
    CYCLES,
    bad_time,
    cycle_indices,
    cycle_step,
    moment_parser,
    read_moments,
    to_ms,
)
from tasks.logs.values import value_text

_SPARSE = 4  # a dictionary this many times longer than the batch: hashing it in order still beats jumping about in it


def columns_of(contract: HashContract) -> list[str]:
    """Return the columns that encoding reads, for a reader that can leave out the others."""
    return [*contract.fields, *([contract.time_column] if contract.time_features else [])]


def encode_batch(
    batch: pa.RecordBatch | pa.Table, contract: HashContract, *, out: np.ndarray | None = None
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
        _encode_part(part, contract, out[begin : begin + part.num_rows])
        begin += part.num_rows
    return out


def token_columns(
    batch: pa.RecordBatch, contract: HashContract
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yield, for each token column, the signed 32-bit hashes of its distinct tokens and each row's entry.

    The last hash is the missing value's; without entries (None) row i holds hash i.
    """
    for prefix, (texts, indices) in zip(
        _prefixes(contract), _columns(batch, contract), strict=True
    ):
        if indices is None or texts.n_texts <= _SPARSE * batch.num_rows:
            hashes = np.empty(texts.n_texts + 1, dtype=np.int32)
            murmur.hash_texts(*prefix, texts.offsets, texts.data, hashes)
            yield hashes, indices
        else:
            hashes = np.empty(batch.num_rows + 1, dtype=np.int32)
            murmur.hash_rows(*prefix, texts.offsets, texts.data, indices, hashes)
            yield hashes, None


def record_batches(
    batch: pa.RecordBatch | pa.Table, contract: HashContract
) -> Iterator[pa.RecordBatch]:
    """Yield the batch in pieces that lie in one chunk each, with just the columns that encoding reads."""
    names = batch.schema.names
    for name in columns_of(contract):
        if names.count(name) != 1:
            found = "is missing from" if name not in names else "is there twice in"
            raise InputError(f"column {name!r} {found} the batch; its columns are {names}")
    part = batch.select(columns_of(contract))
    yield from part.to_batches() if isinstance(part, pa.Table) else [part]


def _encode_part(batch: pa.RecordBatch, contract: HashContract, out: np.ndarray) -> None:
    if batch.num_rows == 0:
        return
    tables, indices = zip(*token_columns(batch, contract), strict=True)
    for table in tables:
        murmur.fold_hashes(table, contract.bits)
    murmur.gather(tables, indices, out)


def _columns(batch: pa.RecordBatch, contract: HashContract) -> Iterator[Column]:
    known: dict[str, Column] = {}
    for name in contract.fields:
        known[name] = read_column(batch.column(name), name=name)
        yield known[name]
    if contract.time_features:
        moments = read_moments(batch.column(contract.time_column), contract)
        for name in contract.time_features:
            known[name] = Column(_cycle_texts(name), cycle_indices(moments, name))
            yield known[name]
    for cross in contract.crosses:
        joined = known[cross[0]]
        for name in cross[1:]:
            joined = _cross(joined, known[name])
        yield joined


@lru_cache
def _cycle_texts(feature: str) -> Texts:
    column = read_column(pa.array([str(step) for step in range(CYCLES[feature][1])]), name=feature)
    return column.texts


def _cross(left: Column, right: Column) -> Column:
    """Return the distinct ``left*right`` texts of the rows and each row's entry; a pair is joined once."""
    n_right = right.texts.n_texts + 1
    pairs = _rows(left).astype(np.int64) * n_right + _rows(right)
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


def _rows(column: Column) -> np.ndarray:
    if column.indices is not None:
        return column.indices
    return np.arange(column.texts.n_texts, dtype=np.int32)


@lru_cache(maxsize=64)
def _prefixes(contract: HashContract) -> list[murmur.Prefix]:
    return [murmur.prefix_of(name, seed=contract.seed) for name in contract.token_fields]


class RowEncoder:
    """Encodes one request at a time, by the contract that hashed the training rows; thread-safe.

    Parameters
    ----------
    contract
        What to hash, and how.

    Examples
    --------
    >>> from tasks.schema import load_schema
    >>> schema = load_schema("avazu")
    >>> encoder = RowEncoder(HashContract.from_schema(schema, bits=20))
    >>> encoder.encode_row(schema.example_row()).shape
    (24,)
    """

    def __init__(self, contract: HashContract):
        self.contract = contract
        columns = zip(*_prefixes(contract), strict=True)
        self._state, self._carry, self._n_prefix = (
            read_only(np.array(column, dtype=np.uint32)) for column in columns
        )
        self._time_texts = lru_cache(maxsize=1024, typed=True)(_time_reader(contract))
        self._crosses = [
            [contract.token_fields.index(name) for name in cross] for cross in contract.crosses
        ]

    def encode_row(self, row: Mapping[str, Any], *, out: np.ndarray | None = None) -> np.ndarray:
        """Return the codes of one row, int32, shape ``(n_tokens,)``.

        Parameters
        ----------
        row
            Column name to value; an absent field is a missing value, other keys are ignored. The
            time is text, an integer or a ``datetime`` (without a zone: UTC).
        out
            Array of that shape and type to write into.

        Raises
        ------
        InputError
            If a value has no token, or the time cannot be read; the message names the field.
        """
        contract = self.contract
        texts = [
            value if type(value) is str else self._text(name, value)
            for name, value in self._values(row)
        ]
        if contract.time_features:
            texts += self.moment_texts(row.get(contract.time_column))
        for cross in self._crosses:
            texts.append("*".join([texts[place] for place in cross]))
        try:
            data = murmur.SEPARATOR.join([text.encode() for text in texts])
        except UnicodeEncodeError:
            raise invalid_unicode(contract.token_fields, texts) from None
        if out is None:
            out = np.empty(contract.n_tokens, dtype=np.int32)
        values = np.frombuffer(data, dtype=np.uint8)
        murmur.hash_row(values, self._state, self._carry, self._n_prefix, contract.bits, out)
        return out

    def encode_rows(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the codes of several rows, int32, shape ``(n_rows, n_tokens)``."""
        out = np.empty((len(rows), self.contract.n_tokens), dtype=np.int32)
        for row, codes in zip(rows, out, strict=True):
            self.encode_row(row, out=codes)
        return out

    def _values(self, row: Mapping[str, Any]) -> list[tuple[str, Any]]:
        return [(name, row.get(name)) for name in self.contract.fields]

    def _text(self, name: str, value: Any) -> str:
        try:
            return value_text(value)
        except (
            TypeError,
            ValueError,
        ) as error:  # ValueError: an integer of more digits than Python writes out
            raise InputError(f"field {name!r}: {error}") from None

    def moment_texts(self, value: Any) -> tuple[str, ...]:
        """Return the text of each time feature of a time, empty ones if it is None; InputError if it cannot be read."""
        try:
            return self._time_texts(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise bad_time(self.contract, value, error) from None


def invalid_unicode(names: Iterable[str], texts: Iterable[str]) -> InputError:
    """Return the error that names the first field whose text cannot be written as UTF-8."""
    for name, text in zip(names, texts, strict=True):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return InputError(
                f"field {name!r}: the text cannot be written as UTF-8 ({error.reason}); send valid Unicode"
            )
    raise AssertionError("every text can be encoded")


def _time_reader(contract: HashContract) -> Callable[[Any], tuple[str, ...]]:
    parse = moment_parser(contract)

    def read(value: Any) -> tuple[str, ...]:
        if value is None:
            return ("",) * len(contract.time_features)
        moment = value if isinstance(value, datetime) else parse(value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        return tuple(str(cycle_step(to_ms(moment), name)) for name in contract.time_features)

    return read
