"""The codes of one context with many candidates: what they share is hashed once.

Candidates from a catalogue are hashed once for all requests, except for crosses with the context;
others are looked up column by column.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import repeat
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from tasks.errors import InputError
from tasks.hashing.features.rows import Inputs, RowFeatures
from tasks.serving.candidates import Candidates, Catalogue
from tasks.serving.catalogue_codes import CatalogueCodes
from tasks.serving.lookup import CodeLookup


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
        self._catalogues: WeakKeyDictionary[Catalogue, CatalogueCodes] = WeakKeyDictionary()

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
        n_single, n_alone = self._lookup.n_single, self._lookup.n_alone
        missing = {place: n for place, n in own_missing.items() if not n_single <= place < n_alone}
        if not all(shared):
            for place, text in enumerate(shared):
                if not text and place not in own:
                    missing[place] = len(codes)
        return Ranking(codes, missing)

    def _known(self, catalogue: Catalogue | None) -> "CatalogueCodes | None":
        if catalogue is None:
            return None
        known = self._catalogues.get(catalogue)
        if known is None:
            known = self._catalogues[catalogue] = CatalogueCodes(self._lookup, catalogue)
        return known if known.is_possible else None

    def _values(self, shared: Sequence[Any], context: Mapping[str, Any]) -> Inputs:
        """Return what features read of the context; nothing if there are none."""
        lookup = self._lookup
        if lookup.features is None:
            return ()
        texts = lookup.inputs(context) if lookup.buckets else shared[: lookup.n_fields]
        return lookup.features.values(texts, context.get(lookup.time_column))

    def _own_columns(
        self, shared: Sequence[Any], context: Mapping[str, Any], candidates: Candidates
    ) -> dict[int, Any]:
        """Return the texts of the fields and features that differ, by token column."""
        lookup = self._lookup
        own: dict[int, Any] = {}
        differing: dict[int, Sequence[Any]] = {}  # what features read that differs
        try:
            for name, values in candidates.columns.items():
                place = lookup.places.get(name, lookup.lists.get(name))
                if place is not None:
                    own[place] = lookup.column_texts(name, values)
                elif name == lookup.time_column and lookup.features is not None:
                    times = zip(*map(lookup.features.moments, values), strict=True)
                    differing.update(enumerate(times, start=lookup.n_fields))
        except InputError:
            _raise_for_first(lookup, candidates)
            raise
        if lookup.features is not None:
            # a list has a place of its own, which is another than that of a feature's input
            differing |= {place: texts for place, texts in own.items() if place < lookup.n_fields}
            own |= _own_features(lookup.features, self._values(shared, context), differing)
        for place in own.keys() & lookup.buckets.keys():
            own[place] = lookup.tokens(place, own[place])
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
                if place < self._lookup.n_alone:
                    codes[:, place] = self._lookup.column_codes(place, texts)
            self._write_items(own, codes)
        except InputError:
            _raise_for_first(self._lookup, candidates)
            raise
        return codes

    def _write_items(self, own: Mapping[int, Any], codes: np.ndarray) -> None:
        """Write the codes of the lists that differ between candidates."""
        begin = self._lookup.n_alone
        for name, place in self._lookup.lists.items():
            width = self._lookup.n_most[name]
            if place in own:
                codes[:, begin : begin + width] = [
                    self._lookup.item_codes(name, joined) for joined in own[place]
                ]
            begin += width


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
