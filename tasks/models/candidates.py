"""The candidates of a ranking, column by column: as they are scored and as they are logged."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any


class Candidates:
    """Rows that share a context, as one list of values for each field that any of them has.

    Attributes
    ----------
    columns : dict of str to sequence
        Field to values, one a candidate in their order; the context's value for a candidate that
        lacks the field, and None if the context lacks it too.
    texts : set of str
        Columns that are known to hold nothing but texts.

    Parameters
    ----------
    columns
        See above; each as long as `n_rows`.
    n_rows
        How many candidates there are: they may have no field of their own.

    Examples
    --------
    >>> several = Candidates.of({"site": "s", "C14": 1}, [{"C14": 2}, {}, {"C14": 3, "C17": 4}])
    >>> several.columns
    {'C14': [2, 1, 3], 'C17': [None, None, 4]}
    >>> len(several), list(several)[0]
    (3, {'C14': 2, 'C17': None})
    """

    __slots__ = ("_n_rows", "columns", "texts")

    def __init__(self, columns: dict[str, Sequence[Any]], n_rows: int):
        self.columns, self._n_rows = columns, n_rows
        self.texts: set[str] = set()

    @classmethod
    def of(cls, context: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> "Candidates":
        """Return the candidates that are given as rows."""
        return cls(_columns(context, rows) if rows else {}, len(rows))

    def __len__(self) -> int:
        """Return the number of candidates."""
        return self._n_rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield each candidate as a row of all columns."""
        for number in range(self._n_rows):
            yield {name: values[number] for name, values in self.columns.items()}


def _columns(
    context: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Sequence[Any]]:
    first = rows[0]
    if set(map(len, rows)) == {len(first)}:
        with suppress(KeyError):  # as many fields as the first, and all of its fields: the same
            return {name: list(map(itemgetter(name), rows)) for name in first}
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, context.get(name)) for row in rows] for name in names}
