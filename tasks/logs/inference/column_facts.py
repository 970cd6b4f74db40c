"""What the values of one column are: how many, which most often, missing words, numbers, lists."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from tasks.logs.value_text import ITEM_MARK, FieldText
from tasks.schema import Field, Schema

MISSING_WORDS = frozenset(
    {"null", "none", "nan", "n/a", "na", "nil", "\\n", "(null)", "undefined", "unknown", "<na>", "#n/a", "-"}
)  # fmt: skip
_LIST_MARKS = ("|", ",", ";", "^", "#", " ")
_ITEM = re.compile(r"[\w.:/+-]{1,64}")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})*(\.\d+)?")
_PLAIN = Schema.from_dict({"name": "plain", "label": "_", "fields": {"x": {"type": "number"}}})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True)
class ColumnFacts:
    """The values of one column of a sample.

    Attributes
    ----------
    name
    distinct
        Distinct texts, the most frequent first; missing ones are not among them.
    counts
        How often each occurs, int64, shape ``(n_values,)``.
    codes
        For each row the place of its value, int64, -1 where it is missing.
    missing_words
        Words that mean nothing, and how often each stands there.
    """

    name: str
    distinct: Sequence[str]
    counts: np.ndarray
    codes: np.ndarray
    missing_words: dict[str, int]

    @property
    def n_rows(self) -> int:
        """Number of rows of the sample."""
        return self.codes.size

    @property
    def n_values(self) -> int:
        """Number of distinct values."""
        return len(self.distinct)

    @property
    def n_filled(self) -> int:
        """Number of rows with a value."""
        return int(self.counts.sum())

    @property
    def missing_share(self) -> float:
        """Share of the rows without a value."""
        return 1 - self.n_filled / self.n_rows

    @property
    def words(self) -> list[str]:
        """The words of the name, in small letters.

        Examples
        --------
        >>> facts_of("AdID", []).words, facts_of("is_click", []).words
        (['ad', 'id'], ['is', 'click'])
        """
        return [word.lower() for word in _WORD.findall(self.name)]

    @cached_property
    def numbers(self) -> np.ndarray | None:
        """Each distinct value as a number, float64; None if one of them is no number."""
        rule = FieldText(_PLAIN, Field("x", kind="number"))
        try:
            return (
                np.array([rule.number(text) for text in self.distinct]) if self.distinct else None
            )
        except ValueError:
            return None

    @property
    def is_integer(self) -> bool:
        """Whether all values are integers as a counter or a database writes them: no fraction, no leading zero."""
        return self.numbers is not None and all(
            re.fullmatch(r"-?(0|[1-9]\d{0,14})(\.0+)?", text) for text in self.distinct
        )

    @property
    def is_identifier(self) -> bool:
        """Whether nearly every row has a value of its own."""
        return self.n_filled > 50 and self.n_values >= 0.95 * self.n_filled

    @cached_property
    def list_mark(self) -> str | None:
        """What separates the items of a list; None if the values are none."""
        if not self.distinct or (self.numbers is not None and "," not in self.distinct[0]):
            return None
        if any(ITEM_MARK in text for text in self.distinct[:1000]):
            return ITEM_MARK
        return next((mark for mark in _LIST_MARKS if self._is_list(mark)), None)

    def _is_list(self, mark: str) -> bool:
        """Return whether the mark stands between short items, of which there are fewer than combinations of them."""
        texts, counts = list(self.distinct[:2000]), self.counts[:2000]
        split = [[item.strip() for item in text.split(mark) if item.strip()] for text in texts]
        lengths = np.array([len(items) for items in split])
        if counts[lengths > 1].sum() < 0.2 * counts.sum():
            return False
        if mark == "," and all(_THOUSANDS.fullmatch(text) for text in texts):
            return False
        items = [item for one in split for item in one]
        if any("://" in item or not _ITEM.fullmatch(item) for item in items):
            return False
        if mark == " " and not all(re.search(r"\d", item) for item in items):
            return False  # prose
        # parts of a key stand each in its place; items of a list anywhere
        moves = len({*lengths.tolist()}) > 1 or bool(
            {one[0] for one in split} & {item for one in split for item in one[1:]}
        )
        return moves and len({*items}) < len(items) * 0.7


def facts_of(name: str, texts: Sequence[str | None]) -> ColumnFacts:
    """Return the facts of a column of texts; blanks around them are no part of a value.

    Examples
    --------
    >>> facts = facts_of("os", ["ios", " ios", "NULL", None, "android"])
    >>> facts.distinct, facts.counts.tolist(), facts.codes.tolist(), facts.missing_words
    (['ios', 'android'], [2, 1], [0, 0, -1, -1, 1], {'NULL': 1})
    """
    raw, first = pd.factorize(pd.Series(texts, dtype=object))
    stripped = [str(text).strip() for text in first]
    counts = np.bincount(raw[raw >= 0], minlength=len(stripped))
    missing: dict[str, int] = {}
    values: dict[str, int] = {}
    for text, count in zip(stripped, counts.tolist(), strict=True):
        if text.lower() in MISSING_WORDS and not _is_country(text, stripped):
            missing[text] = missing.get(text, 0) + count
        elif text:
            values[text] = values.get(text, 0) + count
    ordered = sorted(values, key=lambda text: -values[text])  # stable: the first seen of equals
    place = {text: number for number, text in enumerate(ordered)}
    table = np.array([*(place.get(text, -1) for text in stripped), -1], dtype=np.int64)
    return ColumnFacts(
        name,
        ordered,
        np.array([values[text] for text in ordered], dtype=np.int64),
        table[raw],
        missing,
    )


def _is_country(text: str, others: Sequence[str]) -> bool:
    """Return whether NA is Namibia: among other words of two capital letters."""
    if text != "NA":
        return False
    filled = [other for other in others if other and other != text]
    return bool(filled) and all(re.fullmatch("[A-Z]{2}", other) for other in filled)
