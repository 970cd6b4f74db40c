"""Decodes rankings whose candidates were seen before, byte for byte: a bidder's ads recur.

The list of candidates is split between its objects, and each piece is looked up whole; only new pieces are
parsed. The rest of the body, with an empty list in place of the candidates, is decoded as usual. If no text
holds a backslash and ``"candidates"`` occurs once, the body is valid and means the same exactly if the rest is
valid and each piece, in braces, is an object: a piece that was split wrongly fails to parse, and the body is
left to the ordinary decoder.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from tasks.logs.value_text import value_text
from tasks.serving.candidates import Candidates, Catalogue, picker

MAX_ROWS = 8_192  # per catalogue; a full one is replaced by an empty one
MAX_BYTES = 1_024  # of a cached candidate
MAX_FIELD_SETS = 8  # the least used one is replaced
MAX_SET_BYTES = 4 << 20  # of candidates with one set of fields
MAX_NEW = 8  # per ranking: one with more new candidates is parsed without the cache
N_REMEMBERED_OF_MANY = 2  # of which are cached
_AGE_EVERY = 4_096  # rankings
_KEY = b'"candidates"'
_begin = re.compile(rb'"candidates"\s*:\s*\[\s*\{').search
_CUTS = (b"},{", b"}, {")


class Decoded(NamedTuple):
    """The decoded body of ``/rank``."""

    context: dict[str, Any]
    candidates: Candidates


class CachedRankingDecoder:
    """Decodes rankings whose candidates all have the same fields, and caches those; for one thread.

    Parameters
    ----------
    row
        The type against which :mod:`msgspec` checks the context and each candidate.
    fields
        The fields that a candidate may have: those that are hashed. Their values become texts.
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
        self._n_until_aged = _AGE_EVERY

    def decode(self, body: bytes) -> Decoded | None:
        """Return the decoded body, None if it has another form.

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
        """Release cached candidates in steps of about a millisecond, after this decoder is replaced."""
        for cache in self._caches.values():
            yield from cache.forget()

    def _cache_of(self, piece: bytes) -> "_FieldSetCache | None":
        """Return the cache for rankings that begin with this candidate, None if there is none."""
        self._n_until_aged -= 1
        if not self._n_until_aged:
            self._age()
        for cache in self._caches.values():
            if piece in cache.numbers:
                cache.n_uses += 1
                return cache
        names = frozenset(self._decode_row(b"{%b}" % piece))
        if not names or not names <= self._fields:
            return None
        if names not in self._caches:
            if len(self._caches) >= MAX_FIELD_SETS:
                self._evict()
            self._caches[names] = _FieldSetCache(names, self._decode_row)
        self._caches[names].n_uses += 1
        return self._caches[names]

    def _evict(self) -> None:
        """Drop the least used set of fields: eight small requests must not take the places of all others."""
        del self._caches[min(self._caches, key=lambda names: self._caches[names].n_uses)]

    def _age(self) -> None:
        """Let what was used long ago count for less."""
        self._n_until_aged = _AGE_EVERY
        for cache in self._caches.values():
            cache.n_uses //= 2


class _FieldSetCache:
    """Candidates with one set of fields: their bytes, and their number in a catalogue."""

    def __init__(self, names: frozenset[str], decode_row: Any):
        self._names, self._decode_row = names, decode_row
        self.n_uses = 0  # rankings that it was looked up for
        self._reset()

    def _reset(self) -> None:
        self.numbers: dict[bytes, int] = {}
        self._n_bytes = 0
        self._catalogue = Catalogue(self._names)

    def forget(self) -> Iterator[None]:
        """Release the cached candidates, column by column."""
        numbers, columns = self.numbers, self._catalogue.columns.values()
        self._reset()
        for cached in (numbers, *columns):
            cached.clear()
            yield

    def pick(self, keys: Sequence[bytes]) -> Candidates | None:
        """Return the candidates with these bytes; None if one has other fields, or too many are new."""
        pick = picker(keys)
        with suppress(KeyError):
            return Candidates.picked(self._catalogue, pick(self.numbers))
        new = [key for key in dict.fromkeys(keys) if key not in self.numbers]
        if len(new) > MAX_NEW:
            self._add(new[:N_REMEMBERED_OF_MANY])
            return None
        self._add(new)
        with suppress(KeyError):
            return Candidates.picked(self._catalogue, pick(self.numbers))
        return None

    def _add(self, keys: Sequence[bytes]) -> None:
        """Cache candidates, except those that have other fields or are too long."""
        if len(self.numbers) + len(keys) > MAX_ROWS or self._n_bytes > MAX_SET_BYTES:
            self._reset()
        rows = {key: self._decode_row(b"{%b}" % key) for key in keys if len(key) <= MAX_BYTES}
        texts = {
            key: {name: _text(value) for name, value in row.items()}
            for key, row in rows.items()
            if row.keys() == self._names
        }
        numbers = self._catalogue.add(list(texts.values()))
        self.numbers.update(zip(texts, numbers, strict=True))
        self._n_bytes += sum(map(len, texts))


def _text(value: Any) -> str:
    return str(value) if type(value) is int else value_text(value)
