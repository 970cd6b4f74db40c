"""Codes of single requests by lookup: recently hashed values are cached, value by value.

Texts are built as :class:`tasks.hashing.row_encoder.RowEncoder` builds them, and codes that are not cached
come from the same kernel; a test holds the two equal.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from tasks.hashing import murmur
from tasks.hashing.buckets import bucket_text
from tasks.hashing.codes import NO_TOKEN
from tasks.hashing.columns import Texts, read_only
from tasks.hashing.contract import HashContract
from tasks.hashing.features.rows import RowFeatures
from tasks.hashing.row_encoder import field_readers, invalid_unicode
from tasks.logs.value_text import ITEM_MARK

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
        Per token column that is not a list's, and then per list, text to code; the key of a cross is the tuple of its
        parts, which is faster to look up than to join. Only texts are keys: Python takes 1, 1.0 and True for equal.
    places : dict
        Name of a field of one value to its token column.
    buckets : dict
        Token column of a number to the edges of its buckets.
    lists : dict
        Name of a list to its place among the caches, from `n_alone` on.
    n_most : dict
        How many items of each list count.
    left_out : dict
        Items beyond the maximum since the start, by list.
    crosses : list of list of int
        The token columns that each cross joins.
    time_column : str
        The column of the time.
    features : RowFeatures or None
        The features, if there are any.
    n_fields, n_single, n_alone, n_tokens : int
        Token columns: those of fields come first, then those of features (up to `n_single`), crosses (up to
        `n_alone`), the items of lists.
    """

    def __init__(self, contract: HashContract, *, cache_size: int):
        self.features = None
        if contract.features:
            self.features = RowFeatures(contract, memory_size=cache_size)
        self.time_column = contract.time_column
        fields = contract.single_fields
        self.n_fields, self.n_alone, self.n_tokens = (
            len(fields),
            contract.n_alone,
            contract.n_tokens,
        )
        self.n_single = self.n_fields + len(contract.feature_columns)
        self.places = {name: place for place, name in enumerate(fields)}
        self.buckets = {self.places[name]: edges for name, edges in contract.numbers}
        self.lists = {name: self.n_alone + n for n, (name, _) in enumerate(contract.lists)}
        self.left_out = dict.fromkeys(self.lists, 0)
        self.n_most = dict(contract.lists)
        self._names = (*contract.token_fields[: self.n_alone], *self.lists)
        self.caches: tuple[dict[Text, int], ...] = tuple({} for _ in self._names)
        self._alone = self.caches[: self.n_alone]
        self._cache_size, self._bits = cache_size, contract.bits
        self._readers = field_readers(contract)
        self._memories = {
            name: _Canonical(self._readers[name], cache_size) for name in (*fields, *self.lists)
        }
        self._singles = [(name, self._memories[name]) for name in fields]
        self.crosses = [[self._names.index(name) for name in cross] for cross in contract.crosses]
        prefixes = [murmur.prefix_of(name, seed=contract.seed) for name in self._names]
        self._prefixes = np.array(prefixes, dtype=np.uint32).T.copy()

    def texts(self, row: Mapping[str, Any]) -> list[Any]:
        """Return the text of each token of a row, of a cross those of its parts, and of each list its items joined.

        Raises
        ------
        InputError
            If a value has no text; the message names the field.
        """
        texts: list[Any] = self.inputs(row)
        derived: list[str] = []
        if self.features is not None:
            derived = self.features.texts(self.features.values(texts, row.get(self.time_column)))
        for place, edges in self.buckets.items():
            texts[place] = bucket_text(texts[place], edges)
        texts += derived
        for parts in self.crosses:
            texts.append(tuple([texts[place] for place in parts]))
        for name in self.lists:
            texts.append(self.text(name, row.get(name)))
        return texts

    def inputs(self, row: Mapping[str, Any]) -> list[str]:
        """Return the canonical text of each field of one value, as features read it; InputError as :meth:`texts`."""
        get, text = row.get, self.text
        return [
            memory[value] if type(value := get(name)) is str else text(name, value)
            for name, memory in self._singles
        ]

    def text(self, name: str, value: Any) -> str:
        """Return the canonical text of a field's value; InputError if it has none."""
        if value is None:
            return ""
        return self._memories[name][value] if type(value) is str else self._readers[name](value)

    def column_texts(self, name: str, values: Sequence[Any]) -> Sequence[str]:
        """Return the canonical texts of many values of a field; InputError if one has none."""
        if set(map(type, values)) == {str}:
            return list(map(self._memories[name].__getitem__, values))
        return [self.text(name, value) for value in values]

    def tokens(self, place: int, texts: Sequence[str]) -> Sequence[str]:
        """Return what stands in the tokens of a field's canonical texts: of a number the bucket."""
        if place not in self.buckets:
            return texts
        edges = self.buckets[place]
        return [bucket_text(text, edges) for text in texts]

    def codes(self, texts: Sequence[Text]) -> list[int]:
        """Return the code of each text, one per token column; InputError as :meth:`hash`."""
        if not self.lists:
            return self._codes_alone(texts)
        codes = self._codes_alone(texts[: self.n_alone])
        for name, joined in zip(self.lists, texts[self.n_alone :], strict=True):
            codes += self.item_codes(name, joined)
        return codes

    def item_codes(self, name: str, joined: Any) -> list[int]:
        """Return the codes of a list's items, and NO_TOKEN in the places that are left."""
        n_most, items = self.n_most[name], joined.split(ITEM_MARK)
        if len(items) > n_most:
            self.left_out[name] += len(items) - n_most
            items = items[:n_most]
        place = self.lists[name]
        cache = self.caches[place]
        codes: list[Any] = [cache.get(item) for item in items]
        if None in codes:
            codes = self.hash([place] * len(items), items)
        return codes + [NO_TOKEN] * (n_most - len(codes))

    def _codes_alone(self, texts: Sequence[Text]) -> list[int]:
        try:
            return [cache[text] for cache, text in zip(self._alone, texts, strict=True)]
        except KeyError:
            pass
        codes: list[Any] = list(map(dict.get, self._alone, texts))
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


class _Canonical(dict[str, str]):
    """Canonical texts by what a request held; a full memory is emptied."""

    def __init__(self, read: Callable[[Any], str], size: int):
        super().__init__()
        self._read, self._size = read, size

    def __missing__(self, value: str) -> str:
        text = self._read(value)
        if (
            len(value) * 4 <= MAX_CACHED_BYTES
            or len(value.encode(errors="replace")) <= MAX_CACHED_BYTES
        ):
            if len(self) >= self._size:
                self.clear()
            self[value] = text
        return text


def _joined(text: Text) -> str:
    return text if type(text) is str else "*".join(text)


def _looked_up(codes: Mapping[Text, int], texts: Sequence[Text]) -> np.ndarray:
    """Return the code of each text; twice as fast as `np.fromiter`."""
    if len(texts) < 2:  # itemgetter wants a key, and returns a tuple for several only
        return np.array([codes[text] for text in texts], dtype=np.int32)
    return np.frombuffer(struct.pack(f"{len(texts)}i", *itemgetter(*texts)(codes)), dtype=np.int32)
