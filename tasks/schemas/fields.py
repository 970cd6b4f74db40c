"""The fields of a log, and the slices of traffic that they define."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.schemas.nested import path_of
from tasks.schemas.reading import Part, word_of

KINDS = ("category", "number", "list")  # the first is the default
BUCKETS = ("quantile", "log")
SPELLINGS = ("whole", "exact", "number")


@dataclass(frozen=True)
class Field(Part):
    """One column that models learn from.

    Attributes
    ----------
    name
    kind
        ``category``: a value is a token. ``number``: the value's bucket is. ``list``: each item is.
    pattern
        Regular expression that a value must match as a whole; other rows go to quarantine.
    missing
        The constant that stands for a missing value in this column; it and an absent value are one.
    example, about
        A value for documentation and tests; a sentence.
    source
        Where a nested request holds the value: ``imp[0].banner.pos``.
    buckets, n_buckets
        Of a number: cut at quantiles of the training rows, or at equal steps of the logarithm; how many.
    spelling
        Which texts of a category or of an item are one value (:class:`tasks.logs.spelling.Spelling`): whole numbers and
        booleans as programs write them; none, each text is as written; all numbers.
    separator, max_items
        Of a list: what stands between its items in text; how many of them count.
    """

    name: str
    kind: str = KINDS[0]
    pattern: str | None = None
    missing: str | None = None
    example: str = ""
    about: str = ""
    source: str | None = None
    buckets: str = BUCKETS[0]
    n_buckets: int = 32
    spelling: str = SPELLINGS[0]
    separator: str = "|"
    max_items: int = 20

    @classmethod
    def from_raw(cls, name: str, raw: Mapping[str, Any] | None) -> "Field":
        """Return the field that an entry of ``fields`` declares."""
        name = str(name)
        if raw is not None and not isinstance(raw, Mapping):
            raise ValueError(f"expected a mapping or nothing, found {raw!r}")
        values = {
            key: value if key in ("n_buckets", "max_items") or value is None else word_of(value)
            for key, value in (raw or {}).items()
        }
        if "name" in values:
            raise ValueError("unknown key 'name'; the name stands before the colon")
        return cls.read(values | {"name": name}, **{"type": "kind", "from": "source"})

    def __post_init__(self) -> None:
        if not self.name or "=" in self.name or "*" in self.name:
            raise ValueError(
                f"field name {self.name!r} is empty or holds '=' or '*', which tokens need; rename the column"
            )
        if self.kind not in KINDS:
            raise ValueError(f"type is {self.kind!r}; choose from {KINDS}")
        if self.buckets not in BUCKETS:
            raise ValueError(f"buckets is {self.buckets!r}; choose from {BUCKETS}")
        if self.spelling not in SPELLINGS:
            raise ValueError(f"spelling is {self.spelling!r}; choose from {SPELLINGS}")
        for key, high in (("n_buckets", 1000), ("max_items", 1000)):
            value = getattr(self, key)
            if type(value) is not int or not 1 <= value <= high:
                raise ValueError(f"{key} must be an integer from 1 to {high}, found {value!r}")
        if not self.separator:
            raise ValueError("separator is empty")
        if self.source is not None:
            path_of(self.source)
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise ValueError(f"pattern: {error}") from None


UNSEEN = "unseen"  # the part of a slice with `seen` whose values no model has learned


@dataclass(frozen=True)
class Slice(Part):
    """A part of the traffic that is evaluated on its own.

    ``missing`` and ``other`` name the two parts when only whether a value is missing counts;
    ``seen`` splits by whether the value occurs in the training rows.
    """

    name: str
    field: str
    missing: str | None = None
    other: str | None = None
    seen: bool = False
