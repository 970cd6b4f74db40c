"""Codes of single requests by lookup: recently hashed values are cached, value by value.

Texts are built as :class:`tasks.hashing.row_encoder.RowEncoder` builds them, and codes that are not cached
come from the same kernel; a test holds the two equal.
"""

import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any

import numpy as np

from tasks.errors import InputError
from tasks.hashing import murmur
from tasks.hashing.columns import Texts, read_only
from tasks.hashing.contract import HashContract
from tasks.hashing.features.rows import RowFeatures
from tasks.hashing.row_encoder import invalid_unicode
from tasks.logs.value_text import value_text

Text = str | tuple[str, ...]
MAX_CACHED_BYTES = 128  # bytes in UTF-8; bounds the memory that a client can fill


NO_TEXTS = Texts(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.uint8))


def extended(texts: Texts, more: Sequence[str]) -> Texts:
    """Return these texts with others after them.

    Examples
    --------
    >>> extended(extended(NO_TEXTS, ["ab"]), ["", "c"]).offsets.tolist()
    [0, 2, 2, 3]
    """
    parts = [text.encode() for text in more]
    ends = texts.data.size + np.cumsum([len(part) for part in parts], dtype=np.int64)
    data = np.frombuffer(b"".join(parts), dtype=np.uint8)
    return Texts(np.append(texts.offsets, ends), np.append(texts.data, data))


class CodeLookup:
    """The codes of a contract's tokens, cached by column and text; for one thread.

    Parameters
    ----------
    contract
        What to hash, and how.
    cache_size
        Cached codes per token column, and cached combinations per feature, 1 or more; a full cache is emptied.

    Attributes
    ----------
    caches : tuple of dict
        Per token column, text to code; the key of a cross is the tuple of its parts, which is faster to look
        up than to join. Only texts are keys: Python takes 1, 1.0 and True for equal.
    places : dict
        Name of a field to its token column.
    crosses : list of list of int
        The token columns that each cross joins.
    time_column : str
        The column of the time.
    features : RowFeatures or None
        The features, if there are any.
    n_fields, n_single, n_tokens : int
        Token columns: those of fields come first, then those of features (up to `n_single`), then crosses.
    """

    def __init__(self, contract: HashContract, *, cache_size: int):
        self.features = None
        if contract.features:
            self.features = RowFeatures(contract, memory_size=cache_size)
        self.time_column = contract.time_column
        self.n_fields, self.n_tokens = len(contract.fields), contract.n_tokens
        self.n_single = self.n_fields + len(contract.feature_columns)
        self.places = {name: place for place, name in enumerate(contract.fields)}
        self.caches: tuple[dict[Text, int], ...] = tuple({} for _ in range(contract.n_tokens))
        self._cache_size = cache_size
        self._names, self._bits = contract.token_fields, contract.bits
        self._fields = contract.fields
        self.crosses = [[self._names.index(name) for name in cross] for cross in contract.crosses]
        prefixes = [murmur.prefix_of(name, seed=contract.seed) for name in self._names]
        self._prefixes = np.array(prefixes, dtype=np.uint32).T.copy()

    def texts(self, row: Mapping[str, Any]) -> list[Any]:
        """Return the text of each token of a row, of a cross those of its parts; InputError names a field that has none."""
        get, text = row.get, self.text
        texts: list[Any] = [
            value if type(value := get(name)) is str else text(name, value) for name in self._fields
        ]
        if self.features is not None:
            texts += self.features.texts(self.features.values(texts, get(self.time_column)))
        for parts in self.crosses:
            texts.append(tuple([texts[place] for place in parts]))
        return texts

    def text(self, name: str, value: Any) -> str:
        """Return the text of a field's value; InputError if it has none."""
        if value is None:
            return ""
        try:
            return str(value) if type(value) is int else value_text(value)
        except (TypeError, ValueError) as error:  # ValueError: an integer of too many digits
            raise InputError(f"field {name!r}: {error}") from None

    def column_texts(self, name: str, values: Sequence[Any]) -> Sequence[str]:
        """Return the texts of many values of a field; InputError if one has none."""
        kinds = set(map(type, values))
        if kinds == {str}:
            return values
        if kinds == {int}:
            with suppress(ValueError):
                return list(map(str, values))
        return [self.text(name, value) for value in values]

    def codes(self, texts: Sequence[Text]) -> list[int]:
        """Return the code of each text, one per token column; InputError as :meth:`hash`."""
        try:
            return [cache[text] for cache, text in zip(self.caches, texts, strict=True)]
        except KeyError:
            pass
        codes: list[Any] = list(map(dict.get, self.caches, texts))
        unknown = [place for place, code in enumerate(codes) if code is None]
        hashed = self.hash(unknown, [texts[place] for place in unknown])
        for place, code in zip(unknown, hashed, strict=True):
            codes[place] = code
        return codes

    def column_codes(self, place: int, texts: Sequence[Text]) -> np.ndarray:
        """Return the codes of texts of one token column, int32 ``(n,)``; InputError as :meth:`hash`."""
        cache = self.caches[place]
        try:
            return _looked_up(cache, texts)
        except KeyError:
            pass
        codes: dict[Text, Any] = {text: cache.get(text) for text in texts}
        unknown = [text for text, code in codes.items() if code is None]
        codes.update(zip(unknown, self.hash([place] * len(unknown), unknown), strict=True))
        return _looked_up(codes, texts)

    def hash_between(
        self, place: int, begin: str, end: str, texts: Texts, rows: np.ndarray, out: np.ndarray
    ) -> None:
        """Write the codes of ``begin + text + end`` of one token column to `out`, int32 ``(n,)``.

        Nothing is cached: hashing a text takes no longer than looking it up.
        """
        before = np.frombuffer(begin.encode(), dtype=np.uint8)
        after = np.frombuffer(end.encode(), dtype=np.uint8)
        prefix = self._prefixes[:, place]
        murmur.hash_between(before, after, texts.offsets, texts.data, rows, prefix, self._bits, out)

    def hash(self, places: Sequence[int], texts: Sequence[Text]) -> list[int]:
        """Return the codes of texts of these token columns, and cache them.

        Raises
        ------
        InputError
            If a text cannot be written as UTF-8; the message names the field.
        """
        try:
            parts = [_joined(text).encode() for text in texts]
        except UnicodeEncodeError:
            names = [self._names[place] for place in places]
            raise invalid_unicode(names, map(_joined, texts)) from None
        values = np.frombuffer(murmur.SEPARATOR.join(parts), dtype=np.uint8)
        state, carry, n_prefix = read_only(self._prefixes.take(places, axis=1))
        out = np.empty(len(texts), dtype=np.int32)
        murmur.hash_row(values, state, carry, n_prefix, self._bits, out)
        codes: list[int] = out.tolist()
        for place, text, part, code in zip(places, texts, parts, codes, strict=True):
            if len(part) <= MAX_CACHED_BYTES:
                cache = self.caches[place]
                if len(cache) >= self._cache_size:
                    cache.clear()
                cache[text] = code
        return codes


def _joined(text: Text) -> str:
    return text if type(text) is str else "*".join(text)


def _looked_up(codes: Mapping[Text, int], texts: Sequence[Text]) -> np.ndarray:
    """Return the code of each text; twice as fast as `np.fromiter`."""
    if len(texts) < 2:  # itemgetter wants a key, and returns a tuple for several only
        return np.array([codes[text] for text in texts], dtype=np.int32)
    return np.frombuffer(struct.pack(f"{len(texts)}i", *itemgetter(*texts)(codes)), dtype=np.int32)
