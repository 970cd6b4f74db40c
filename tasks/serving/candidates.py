"""The candidates of a ranking, column by column: as they are scored and as they are logged."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any


class Catalogue:
    """Recurring candidates, such as a bidder's ads: texts by field, one per row.

    Rows are only added, so a row keeps its number and anything computed for it stays valid.

    Attributes
    ----------
    columns : dict of str to list of str
        Field to texts, all of the same length.

    Parameters
    ----------
    names
        The fields of every row.

    Examples
    --------
    >>> ads = Catalogue(["C14", "C17"])
    >>> list(ads.add([{"C14": "1", "C17": "2"}, {"C17": "4", "C14": "3"}])), len(ads)
    ([0, 1], 2)
    >>> Candidates.picked(ads, (1, 0, 1)).columns
    {'C14': ('3', '1', '3'), 'C17': ('4', '2', '4')}
    """

    __slots__ = ("__weakref__", "_n_rows", "columns")

    def __init__(self, names: Collection[str]):
        self.columns: dict[str, list[str]] = {name: [] for name in names}
        self._n_rows = 0

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._n_rows

    def add(self, rows: Sequence[Mapping[str, str]]) -> range:
        """Add rows, each with all fields, and return their numbers."""
        for name, column in self.columns.items():
            column.extend(map(itemgetter(name), rows))
        numbers = range(self._n_rows, self._n_rows + len(rows))
        self._n_rows = numbers.stop
        return numbers


class Candidates:
    """Rows that share a context, as one list of values for each field that any of them has.

    Attributes
    ----------
    columns : dict of str to sequence
        Field to values, one per candidate in their order; the context's value where a candidate lacks
        the field, None if the context lacks it too.
    texts : set of str
        Columns known to hold only texts.
    catalogue, numbers
        The catalogue of all candidates, and their numbers in it; None and empty without one.

    Parameters
    ----------
    columns
        See above; each of length `n_rows`.
    n_rows
        Number of candidates, which may have no fields of their own.

    Examples
    --------
    >>> several = Candidates.of({"site": "s", "C14": 1}, [{"C14": 2}, {}, {"C14": 3, "C17": 4}])
    >>> several.columns
    {'C14': [2, 1, 3], 'C17': [None, None, 4]}
    >>> len(several), list(several)[0]
    (3, {'C14': 2, 'C17': None})
    """

    __slots__ = ("_columns", "_n_rows", "catalogue", "numbers", "texts")

    def __init__(self, columns: dict[str, Sequence[Any]], n_rows: int):
        self._columns: dict[str, Sequence[Any]] | None = columns
        self._n_rows = n_rows
        self.texts: set[str] = set()
        self.catalogue: Catalogue | None = None
        self.numbers: tuple[int, ...] = ()

    @classmethod
    def of(cls, context: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> "Candidates":
        """Return the candidates that are given as rows."""
        return cls(_columns(context, rows) if rows else {}, len(rows))

    @classmethod
    def picked(cls, catalogue: Catalogue, numbers: tuple[int, ...]) -> "Candidates":
        """Return the candidates with these numbers in a catalogue; columns are built on demand."""
        found = cls({}, len(numbers))
        found._columns = None
        found.texts.update(catalogue.columns)
        found.catalogue, found.numbers = catalogue, numbers
        return found

    @property
    def columns(self) -> dict[str, Sequence[Any]]:
        """Field to values."""
        if self._columns is None:
            assert self.catalogue is not None
            pick = picker(self.numbers)
            self._columns = {name: pick(texts) for name, texts in self.catalogue.columns.items()}
        return self._columns

    def __len__(self) -> int:
        """Return the number of candidates."""
        return self._n_rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield each candidate as a row of all columns."""
        for number in range(self._n_rows):
            yield {name: values[number] for name, values in self.columns.items()}


def picker(keys: Sequence[Any]) -> Any:
    """Return a function that gets the values of several keys from a list or dictionary as a tuple."""
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda values: tuple([values[key] for key in keys])


def _columns(
    context: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Sequence[Any]]:
    first = rows[0]
    if set(map(len, rows)) == {len(first)}:
        with suppress(KeyError):  # as many fields as the first, and all of its fields: the same
            return {name: list(map(itemgetter(name), rows)) for name in first}
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, context.get(name)) for row in rows] for name in names}
