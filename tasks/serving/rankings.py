"""The codes of one context with many candidates: what they share is hashed once.

Candidates from a catalogue are hashed once for all requests, except for crosses with the context;
others are looked up column by column.
"""

import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numba import njit

from tasks.errors import InputError
from tasks.hashing.columns import Texts
from tasks.serving.candidates import Candidates, Catalogue
from tasks.serving.lookup import NO_TEXTS, CodeLookup, extended

_FIRST_ROWS = 256


class Ranking(NamedTuple):
    """A context with its candidates, ready to be scored.

    Attributes
    ----------
    codes : ndarray
        int32 ``(n_candidates, n_tokens)``.
    missing : dict of int to int
        Column to the number of candidates that lack a value there, for columns where some do.
    """

    codes: np.ndarray
    missing: dict[int, int]


class RankingHasher:
    """Turns contexts with candidates into codes; for one thread.

    Parameters
    ----------
    lookup
        Of the contract to hash by.
    n_columns
        Number of columns whose missing values are counted: fields, then the time.
    """

    def __init__(self, lookup: CodeLookup, n_columns: int):
        self._lookup, self._n_columns = lookup, n_columns
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
            codes, own_missing = known.codes(shared, shared_codes, candidates.numbers)
            own: Collection[int] = known.places
        else:
            columns = self._own_columns(shared, candidates)
            codes = self._column_codes(shared_codes, columns, candidates)
            own_missing = {
                place: texts.count("") for place, texts in columns.items() if not all(texts)
            }
            own = columns.keys()
        missing = {place: n for place, n in own_missing.items() if place < self._n_columns}
        if not all(shared[: self._n_columns]):
            for place, text in enumerate(shared[: self._n_columns]):
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

    def _own_columns(self, shared: Sequence[Any], candidates: Candidates) -> dict[int, Any]:
        """Return the texts of the fields that differ, by token column."""
        lookup, own = self._lookup, {}
        try:
            for name, values in candidates.columns.items():
                place = lookup.places.get(name)
                if place is not None:
                    is_text = name in candidates.texts
                    own[place] = values if is_text else lookup.column_texts(name, values)
                elif name == lookup.time_column:
                    times = zip(*map(lookup.time_texts, values), strict=True)
                    own.update(enumerate(times, start=lookup.n_fields))
        except InputError:
            _raise_for_first(lookup, candidates)
            raise
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
    names: Sequence[str]  # fields of the candidate
    after: Sequence[int]
    texts: Texts = NO_TEXTS  # of the candidate's fields, joined; one per row of the catalogue

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
        The token columns that the catalogue's fields are hashed to.
    is_possible : bool
        False if a cross takes fields from both sides of one of the context's.
    """

    def __init__(self, lookup: CodeLookup, catalogue: Catalogue):
        self._lookup = lookup
        fields = {lookup.places[name]: name for name in catalogue.columns if name in lookup.places}
        self._columns = catalogue.columns
        self._texts = [catalogue.columns[name] for name in fields.values()]
        self.places = list(fields)
        self._places = np.array(self.places, dtype=np.int64)
        self._codes = np.empty((_FIRST_ROWS, len(fields)), dtype=np.int32)
        self._is_empty = np.empty(self._codes.shape, dtype=bool)
        self._any_empty = False
        self._n_rows = 0
        crosses = [
            _cross(place, parts, fields)
            for place, parts in enumerate(lookup.crosses, start=lookup.n_single)
            if any(part in fields for part in parts)
        ]
        self._crosses = [cross for cross in crosses if cross is not None]
        self.is_possible = bool(fields) and len(self._crosses) == len(crosses)

    def codes(
        self, shared: Sequence[Any], shared_codes: list[int], numbers: Sequence[int]
    ) -> tuple[np.ndarray, dict[int, int]]:
        """Return the codes of rows with a context, and per column how many of them lack a text."""
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
        return codes, missing

    def _extend(self) -> None:
        """Hash the rows added since the last call."""
        begin, end = self._n_rows, len(self._texts[0])
        if end > len(self._codes):
            n_more = max(end - len(self._codes), len(self._codes))
            self._codes = np.pad(self._codes, ((0, n_more), (0, 0)))
            self._is_empty = np.pad(self._is_empty, ((0, n_more), (0, 0)))
        for at, (place, column) in enumerate(zip(self.places, self._texts, strict=True)):
            texts = column[begin:end]
            self._codes[begin:end, at] = self._lookup.column_codes(place, texts)
            self._is_empty[begin:end, at] = [not text for text in texts]
        self._any_empty = bool(self._is_empty[:end].any())
        for cross in self._crosses:
            parts = [self._columns[name][begin:end] for name in cross.names]
            joined = list(map("*".join, zip(*parts, strict=True)))
            cross.texts = extended(cross.texts, joined)
        self._n_rows = end


def _cross(place: int, parts: Sequence[int], fields: Mapping[int, str]) -> _Cross | None:
    """Return a cross with the candidate's fields; None if one of the context's lies between them."""
    is_own = [part in fields for part in parts]
    first, last = is_own.index(True), len(parts) - is_own[::-1].index(True)
    if not all(is_own[first:last]):
        return None
    names = [fields[part] for part in parts[first:last]]
    return _Cross(place, parts[:first], names, parts[last:])


@njit(cache=True, nogil=True, error_model="numpy")
def _spread(shared, own, places, rows, out):
    """Write the shared codes to each row of `out`, and over them those of its row in `own`."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = shared[j]
        for k in range(places.size):
            out[i, places[k]] = own[rows[i], k]
