"""Decodes rankings whose candidates were seen before, byte for byte: a bidder's ads come again and again.

The list of candidates is cut where one ends and the next begins, and each piece is looked up whole; only
pieces that are new are read. What is left of the body, with an empty list in place of theirs, is decoded as
usual. Where no text holds a backslash and ``"candidates"`` is there once, a body is right and means the same
if what is left is right and each piece is, between braces, an object: so a piece that was cut wrongly is
found out when it is read, and the body is left to others.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from tasks.logs.values import value_text
from tasks.serving.candidates import Candidates, Catalogue, picker

MAX_ROWS = 8_192  # of a catalogue; a full one is begun anew
MAX_BYTES = 1_024  # of a candidate that is remembered
MAX_FIELD_SETS = 8
MAX_NEW = (
    8  # in one ranking: one that has more new candidates is read as if there were no catalogue
)
N_REMEMBERED_OF_MANY = 2  # of which are remembered
_KEY = b'"candidates"'
_begin = re.compile(rb'"candidates"\s*:\s*\[\s*\{').search
_CUTS = (b"},{", b"}, {")


class Decoded(NamedTuple):
    """What is in the body of ``/rank``."""

    context: dict[str, Any]
    candidates: Candidates


class CachedRankingDecoder:
    """Reads rankings whose candidates all have the same fields, and remembers those; for one thread.

    Parameters
    ----------
    row
        The type that :mod:`msgspec` is to check the context and each candidate against.
    fields
        What a candidate may have: fields that are hashed. Their values become texts.
    """

    def __init__(self, row: Any, fields: Collection[str]):
        ranking = msgspec.defstruct(
            "Ranking",
            [("context", row), ("candidates", list[Any])],
            forbid_unknown_fields=True,
            gc=False,
        )
        self._decode = msgspec.json.Decoder(ranking).decode
        self._decode_row = msgspec.json.Decoder(row).decode
        self._fields = frozenset(fields)
        self._caches: dict[frozenset[str], _FieldSetCache] = {}

    def decode(self, body: bytes) -> Decoded | None:
        """Return what is in a body, None if it looks otherwise.

        Raises
        ------
        UnicodeDecodeError
            If a key or value is not UTF-8.
        """
        begin, end = _begin(body), body.rfind(b"}]")
        if begin is None or b"\\" in body or body.count(_KEY) != 1 or end < begin.end():
            return None
        listed = body[begin.end() : end]
        pieces = listed.split(_CUTS[0])
        if len(pieces) == 1:
            pieces = listed.split(_CUTS[1])
        try:
            rest = self._decode(b"%b[]%b" % (body[: begin.start()] + _KEY + b":", body[end + 2 :]))
            cache = self._cache_of(pieces[0])
            candidates = cache.pick(pieces) if cache else None
        except msgspec.MsgspecError:
            return None
        return Decoded(rest.context, candidates) if candidates else None

    def forget(self) -> Iterator[None]:
        """Forget all candidates in bites of a millisecond; for one who reads no more."""
        for cache in self._caches.values():
            yield from cache.forget()

    def _cache_of(self, piece: bytes) -> "_FieldSetCache | None":
        """Return the cache for a ranking that begins with this candidate, None if there is none."""
        for cache in self._caches.values():
            if piece in cache.numbers:
                return cache
        names = frozenset(self._decode_row(b"{%b}" % piece))
        if not names or not names <= self._fields:
            return None
        if names not in self._caches and len(self._caches) < MAX_FIELD_SETS:
            self._caches[names] = _FieldSetCache(names, self._decode_row)
        return self._caches.get(names)


class _FieldSetCache:
    """The candidates that have the same fields: how they were written, and their number in a catalogue."""

    def __init__(self, names: frozenset[str], decode_row: Any):
        self._names, self._decode_row = names, decode_row
        self._reset()

    def _reset(self) -> None:
        self.numbers: dict[bytes, int] = {}
        self._catalogue = Catalogue(self._names)

    def forget(self) -> Iterator[None]:
        """Forget what is remembered, column by column."""
        numbers, columns = self.numbers, self._catalogue.columns.values()
        self._reset()
        for remembered in (numbers, *columns):
            remembered.clear()
            yield

    def pick(self, keys: Sequence[bytes]) -> Candidates | None:
        """Return the candidates that are written so; None if one has other fields, or too many are new."""
        pick = picker(keys)
        with suppress(KeyError):
            return Candidates.picked(self._catalogue, pick(self.numbers))
        new = [key for key in dict.fromkeys(keys) if key not in self.numbers]
        if len(new) > MAX_NEW:
            self._learn(new[:N_REMEMBERED_OF_MANY])
            return None
        self._learn(new)
        with suppress(KeyError):
            return Candidates.picked(self._catalogue, pick(self.numbers))
        return None

    def _learn(self, keys: Sequence[bytes]) -> None:
        """Remember candidates, but for those that have other fields or are too long."""
        if len(self.numbers) + len(keys) > MAX_ROWS:
            self._reset()
        rows = {key: self._decode_row(b"{%b}" % key) for key in keys if len(key) <= MAX_BYTES}
        texts = {
            key: {name: _text(value) for name, value in row.items()}
            for key, row in rows.items()
            if row.keys() == self._names
        }
        numbers = self._catalogue.add(list(texts.values()))
        self.numbers.update(zip(texts, numbers, strict=True))


def _text(value: Any) -> str:
    return str(value) if type(value) is int else value_text(value)
