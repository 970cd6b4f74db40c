"""The codes of recurring candidates, computed once for all requests; crosses and features of both sides, per context."""

import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numba import njit

from tasks.hashing.columns import Texts
from tasks.hashing.features.rows import Inputs, RowFeatures
from tasks.serving.candidates import Catalogue, picker
from tasks.serving.lookup import NO_TEXTS, CodeLookup, extended

_FIRST_ROWS = 256


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


class CatalogueCodes:
    """The codes of a catalogue's rows by one contract, computed as rows are added.

    Attributes
    ----------
    places : list of int
        The token columns that the catalogue alone decides: its fields, and features of them.
    is_possible : bool
        False if a cross takes fields from both sides of one of the context's, or a feature of both, or a field is a
        number or a list.
    """

    def __init__(self, lookup: CodeLookup, catalogue: Catalogue):
        self._lookup = lookup
        self._columns = catalogue.columns  # not the catalogue, whose end forgets its codes
        self._names = {
            lookup.places[name]: name for name in catalogue.columns if name in lookup.places
        }
        self._texts: dict[int, list[str]] = {place: [] for place in self._names}
        n_fields = len(self._texts)
        is_plain = not lookup.lists.keys() & catalogue.columns.keys()
        is_plain = is_plain and not lookup.buckets.keys() & self._names.keys()
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
        self.is_possible = is_plain and n_fields > 0 and len(self._crosses) == len(crosses)

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
            pick(self._texts[place]) if place in self._names else repeat(values[place])
            for place in features.places[number]
        ]
        texts = features.column_texts(number, zip(*inputs, strict=False))
        yield from zip(features.columns[number], texts, strict=True)

    def _extend(self) -> None:
        """Hash the rows added since the last call."""
        begin = self._n_rows
        end = len(next(iter(self._columns.values())))
        for place, name in self._names.items():
            more = self._columns[name][begin:end]
            self._texts[place] += self._lookup.column_texts(name, more)
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
