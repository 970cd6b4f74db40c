"""The one row of a live request to codes, by the same kernel and contract as batches."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tasks.errors import InputError
from tasks.hashing import murmur
from tasks.hashing.buckets import bucket_text
from tasks.hashing.codes import NO_TOKEN
from tasks.hashing.columns import read_only
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import token_prefixes
from tasks.hashing.features.rows import RowFeatures
from tasks.logs.value_text import ITEM_MARK, FieldText
from tasks.schema import Schema


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
        columns = zip(*token_prefixes(contract), strict=True)
        self._state, self._carry, self._n_prefix = (
            read_only(np.array(column, dtype=np.uint32)) for column in columns
        )
        self._features = RowFeatures(contract) if contract.features else None
        readers, edges = field_readers(contract), dict(contract.numbers)
        self._singles = [(name, readers[name]) for name in contract.single_fields]
        self._edges = [
            (place, edges[name])
            for place, name in enumerate(contract.single_fields)
            if name in edges
        ]
        self._lists = [(name, readers[name], n_most) for name, n_most in contract.lists]
        self._crosses = [
            [contract.token_fields.index(name) for name in cross] for cross in contract.crosses
        ]

    def encode_row(self, row: Mapping[str, Any], *, out: np.ndarray | None = None) -> np.ndarray:
        """Return the codes of one row, int32, shape ``(n_tokens,)``.

        Parameters
        ----------
        row
            Column name to value, of a list a list of values or its text; an absent field is a missing value, other
            keys are ignored. The time is text, an integer or a ``datetime`` (without a zone: UTC).
        out
            Array of that shape and type to write into.

        Raises
        ------
        InputError
            If a value has no token, or the time cannot be read; the message names the field.
        """
        contract = self.contract
        texts = [read(row.get(name)) for name, read in self._singles]
        derived: list[str] = []
        if self._features is not None:
            inputs = self._features.values(texts, row.get(contract.time_column))
            derived = self._features.texts(inputs)
        for place, edges in self._edges:
            texts[place] = bucket_text(texts[place], edges)
        texts += derived
        for cross in self._crosses:
            texts.append("*".join([texts[place] for place in cross]))
        absent: list[int] = []
        for name, read, n_most in self._lists:
            items = read(row.get(name)).split(ITEM_MARK)[:n_most]
            absent += range(len(texts) + len(items), len(texts) + n_most)
            texts += [*items, *[""] * (n_most - len(items))]
        try:
            data = murmur.SEPARATOR.join([text.encode() for text in texts])
        except UnicodeEncodeError:
            raise invalid_unicode(contract.token_fields, texts) from None
        if out is None:
            out = np.empty(contract.n_tokens, dtype=np.int32)
        values = np.frombuffer(data, dtype=np.uint8)
        murmur.hash_row(values, self._state, self._carry, self._n_prefix, contract.bits, out)
        out[absent] = NO_TOKEN
        return out

    def encode_rows(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the codes of several rows, int32, shape ``(n_rows, n_tokens)``."""
        out = np.empty((len(rows), self.contract.n_tokens), dtype=np.int32)
        for row, codes in zip(rows, out, strict=True):
            self.encode_row(row, out=codes)
        return out


def field_readers(contract: HashContract) -> dict[str, Callable[[Any], str]]:
    """Return the function from a request's value to its canonical text of each field; InputError names the field."""
    schema = Schema.from_dict(contract.schema)
    return {spec.name: _reader(spec.name, FieldText(schema, spec)) for spec in schema.fields}


def _reader(name: str, text: FieldText) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        try:
            return text(value)
        except (
            TypeError,
            ValueError,
        ) as error:  # also an integer of more digits than Python writes
            raise InputError(f"field {name!r}: {error}") from None

    return read


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
