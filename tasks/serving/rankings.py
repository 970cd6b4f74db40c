"""The codes of one context with many candidates: what they share is hashed once.

Candidates from a catalogue are hashed once for all requests, except for crosses with the context;
others are looked up column by column.
"""

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numba import njit

from tasks.errors import InputError
from tasks.hashing.columns import Texts
from tasks.hashing.derived import Inputs, RowFeatures
from tasks.serving.candidates import Candidates, Catalogue, picker
from tasks.serving.lookup import NO_TEXTS, CodeLookup, extended

_FIRST_ROWS = 256


class Ranking(NamedTuple):
    """A context with its candidates, ready to be scored.

    Attributes
    ----------
    codes : ndarray
        int32 ``(n_candidates, n_tokens)``.
    missing : dict of int to int
        Token column of a field or feature to the number of candidates that lack a value there, where some do.
    """

    codes: np.ndarray
    missing: dict[int, int]


class RankingHasher:
    """Turns contexts with candidates into codes; for one thread.

    Parameters
    ----------
    lookup
        Of the contract to hash by.
    """

    def __init__(self, lookup: CodeLookup):
        self._lookup = lookup
        self._catalogues: WeakKeyDictionary[Catalogue, _CatalogueCodes] = WeakKeyDictionary()

    def hash(self, context: Mapping[str, Any], candidates: Candidates) -> Ranking:
        """Return the codes of a context with at least one candidate.

        Raises
        ------
        InputError
            If a value cannot be hashed; the message names the field, and the candidate from 0.
        """
        shared = self._lookup.texts(context)
        shared_codes = self._lookup.codes(shared)
        known = self._known(candidates.catalogue)
        if known is not None:
            values = self._values(shared, context)
            codes, own_missing = known.codes(shared, values, shared_codes, candidates.numbers)
            own: Collection[int] = known.places
        else:
            columns = self._own_columns(shared, context, candidates)
            codes = self._column_codes(shared_codes, columns, candidates)
            own_missing = {
                place: texts.count("") for place, texts in columns.items() if not all(texts)
            }
            own = columns.keys()
        n_single = self._lookup.n_single
        missing = {place: n for place, n in own_missing.items() if place < n_single}
        if not all(shared[:n_single]):
            for place, text in enumerate(shared[:n_single]):
                if not text and place not in own:
                    missing[place] = len(codes)
        return Ranking(codes, missing)

    def _known(self, catalogue: Catalogue | None) -> "_CatalogueCodes | None":
        if catalogue is None:
            return None
        known = self._catalogues.get(catalogue)
        if known is None:
            known = self._catalogues[catalogue] = _CatalogueCodes(self._lookup, catalogue)
        return known if known.is_possible else None

    def _values(self, shared: Sequence[Any], context: Mapping[str, Any]) -> Inputs:
        """Return what features read of the context; nothing if there are none."""
        lookup = self._lookup
        if lookup.features is None:
            return ()
        return lookup.features.values(shared[: lookup.n_fields], context.get(lookup.time_column))

    def _own_columns(
        self, shared: Sequence[Any], context: Mapping[str, Any], candidates: Candidates
    ) -> dict[int, Any]:
        """Return the texts of the fields and features that differ, by token column."""
        lookup, own = self._lookup, {}
        differing: dict[int, Sequence[Any]] = {}  # what features read that differs
        try:
            for name, values in candidates.columns.items():
                place = lookup.places.get(name)
                if place is not None:
                    is_text = name in candidates.texts
                    own[place] = values if is_text else lookup.column_texts(name, values)
                elif name == lookup.time_column and lookup.features is not None:
                    times = zip(*map(lookup.features.moments, values), strict=True)
                    differing.update(enumerate(times, start=lookup.n_fields))
        except InputError:
            _raise_for_first(lookup, candidates)
            raise
        if lookup.features is not None:
            differing |= own
            own |= _own_features(lookup.features, self._values(shared, context), differing)
        for place, parts in enumerate(lookup.crosses, start=lookup.n_single):
            if any(part in own for part in parts):
                texts = [own.get(part) or repeat(shared[part]) for part in parts]
                own[place] = list(zip(*texts, strict=False))
        return own

    def _column_codes(
        self, shared_codes: list[int], own: Mapping[int, Any], candidates: Candidates
    ) -> np.ndarray:
        codes = np.empty((len(candidates), self._lookup.n_tokens), dtype=np.int32)
        codes[:] = shared_codes
        try:
            for place, texts in own.items():
                codes[:, place] = self._lookup.column_codes(place, texts)
        except InputError:
            _raise_for_first(self._lookup, candidates)
            raise
        return codes


def _own_features(
    features: RowFeatures, values: Inputs, own: Mapping[int, Sequence[Any]]
) -> dict[int, Sequence[str]]:
    """Return the texts of the features that read what differs between candidates, by token column."""
    found: dict[int, Sequence[str]] = {}
    for number, places in enumerate(features.places):
        if any(place in own for place in places):
            inputs = [own.get(place) or repeat(values[place]) for place in places]
            texts = features.column_texts(number, zip(*inputs, strict=False))
            found.update(zip(features.columns[number], texts, strict=True))
    return found


def _raise_for_first(lookup: CodeLookup, candidates: Candidates) -> None:
    """Raise InputError for the first candidate that has a value without a code."""
    for number, candidate in enumerate(candidates):
        try:
            lookup.codes(lookup.texts(candidate))
        except InputError as error:
            raise InputError(f"candidates[{number}]: {error}") from None


@dataclass
class _Cross:
    """A cross of context and candidate: the candidate's texts, between those of the context."""

    place: int
    before: Sequence[int]  # token columns of the context
    own: Sequence[int]  # token columns of the candidate
    after: Sequence[int]
    texts: Texts = NO_TEXTS  # of the candidate's columns, joined; one per row of the catalogue

    def hash(
        self, lookup: CodeLookup, shared: Sequence[str], rows: np.ndarray, out: np.ndarray
    ) -> None:
        """Write the codes of these rows with a context to `out`."""
        begin = "".join([f"{shared[part]}*" for part in self.before])
        end = "".join([f"*{shared[part]}" for part in self.after])
        lookup.hash_between(self.place, begin, end, self.texts, rows, out)


class _CatalogueCodes:
    """The codes of a catalogue's rows by one contract, computed as rows are added.

    Attributes
    ----------
    places : list of int
        The token columns that the catalogue alone decides: its fields, and features of them.
    is_possible : bool
        False if a cross takes fields from both sides of one of the context's, or a feature of both.
    """

    def __init__(self, lookup: CodeLookup, catalogue: Catalogue):
        self._lookup = lookup
        self._texts = {
            lookup.places[name]: texts
            for name, texts in catalogue.columns.items()
            if name in lookup.places
        }
        n_fields = len(self._texts)
        self._features, self._mixed = self._read_by(lookup.features)
        mixed = {place for number in self._mixed for place in self._columns_of(number)}
        for number in self._features:
            self._texts |= {place: [] for place in self._columns_of(number)}
        self.places = list(self._texts)
        self._places = np.array(self.places, dtype=np.int64)
        self._codes = np.empty((_FIRST_ROWS, len(self.places)), dtype=np.int32)
        self._is_empty = np.empty(self._codes.shape, dtype=bool)
        self._any_empty = False
        self._n_rows = 0
        crosses = [
            _cross(place, parts, self._texts, mixed)
            for place, parts in enumerate(lookup.crosses, start=lookup.n_single)
            if any(part in self._texts or part in mixed for part in parts)
        ]
        self._crosses = [cross for cross in crosses if cross is not None]
        self.is_possible = n_fields > 0 and len(self._crosses) == len(crosses)

    def _read_by(self, features: RowFeatures | None) -> tuple[list[int], list[int]]:
        """Return the numbers of the features that read only the catalogue, and of those that read it and the context."""
        read = (
            [[place in self._texts for place in places] for places in features.places]
            if features
            else []
        )
        own = [number for number, inputs in enumerate(read) if all(inputs)]
        return own, [
            number for number, inputs in enumerate(read) if any(inputs) and number not in own
        ]

    def _columns_of(self, number: int) -> range:
        assert self._lookup.features is not None
        return self._lookup.features.columns[number]

    def codes(
        self,
        shared: Sequence[Any],
        values: Inputs,
        shared_codes: list[int],
        numbers: Sequence[int],
    ) -> tuple[np.ndarray, dict[int, int]]:
        """Return the codes of rows with a context, and per column how many of them lack a text.

        `shared` and `shared_codes` are the context's texts and codes, `values` what features read of it.
        """
        if max(numbers) >= self._n_rows:
            self._extend()
        rows = np.frombuffer(struct.pack(f"{len(numbers)}i", *numbers), dtype=np.int32)
        codes = np.empty((len(rows), self._lookup.n_tokens), dtype=np.int32)
        _spread(np.array(shared_codes, dtype=np.int32), self._codes, self._places, rows, codes)
        for cross in self._crosses:
            cross.hash(self._lookup, shared, rows, codes[:, cross.place])
        missing = {}
        if self._any_empty:
            counts = self._is_empty[rows].sum(axis=0).tolist()
            missing = dict(zip(self.places, counts, strict=True))
        for number in self._mixed:
            for place, texts in self._mixed_texts(number, values, numbers):
                codes[:, place] = self._lookup.column_codes(place, texts)
                missing[place] = texts.count("")
        return codes, missing

    def _mixed_texts(
        self, number: int, values: Inputs, numbers: Sequence[int]
    ) -> Iterator[tuple[int, list[str]]]:
        """Yield token column and texts of a feature that reads the catalogue and the context."""
        features, pick = self._lookup.features, picker(numbers)
        assert features is not None
        inputs = [
            pick(self._texts[place]) if place in self._texts else repeat(values[place])
            for place in features.places[number]
        ]
        texts = features.column_texts(number, zip(*inputs, strict=False))
        yield from zip(features.columns[number], texts, strict=True)

    def _extend(self) -> None:
        """Hash the rows added since the last call."""
        begin, end = self._n_rows, len(self._texts[self.places[0]])
        for number in self._features:
            self._add_feature(number, begin, end)
        if end > len(self._codes):
            n_more = max(end - len(self._codes), len(self._codes))
            self._codes = np.pad(self._codes, ((0, n_more), (0, 0)))
            self._is_empty = np.pad(self._is_empty, ((0, n_more), (0, 0)))
        for at, (place, column) in enumerate(self._texts.items()):
            texts = column[begin:end]
            self._codes[begin:end, at] = self._lookup.column_codes(place, texts)
            self._is_empty[begin:end, at] = [not text for text in texts]
        self._any_empty = bool(self._is_empty[:end].any())
        for cross in self._crosses:
            parts = [self._texts[place][begin:end] for place in cross.own]
            joined = list(map("*".join, zip(*parts, strict=True)))
            cross.texts = extended(cross.texts, joined)
        self._n_rows = end

    def _add_feature(self, number: int, begin: int, end: int) -> None:
        """Add the texts of a feature for the rows added since the last call."""
        features = self._lookup.features
        assert features is not None
        inputs = zip(
            *(self._texts[place][begin:end] for place in features.places[number]), strict=True
        )
        texts = features.column_texts(number, inputs)
        for place, more in zip(features.columns[number], texts, strict=True):
            self._texts[place] += more


def _cross(
    place: int, parts: Sequence[int], own: Collection[int], mixed: Collection[int]
) -> _Cross | None:
    """Return a cross with the candidate's columns; None if one that the context decides lies between them."""
    is_own = [part in own for part in parts]
    if any(part in mixed for part in parts):
        return None
    first, last = is_own.index(True), len(parts) - is_own[::-1].index(True)
    if not all(is_own[first:last]):
        return None
    return _Cross(place, parts[:first], parts[first:last], parts[last:])


@njit(cache=True, nogil=True, error_model="numpy")
def _spread(shared, own, places, rows, out):
    """Write the shared codes to each row of `out`, and over them those of its row in `own`."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = shared[j]
        for k in range(places.size):
            out[i, places[k]] = own[rows[i], k]
