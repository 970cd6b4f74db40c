"""The one row of a live request to codes, by the same kernel and contract as batches."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tasks.errors import InputError
from tasks.hashing import murmur
from tasks.hashing.columns import read_only
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import token_prefixes
from tasks.hashing.features.rows import RowFeatures
from tasks.logs.value_text import value_text


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
        if self._features is not None:
            inputs = self._features.values(texts, row.get(contract.time_column))
            texts += self._features.texts(inputs)
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
