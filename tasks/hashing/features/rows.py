"""What features make of a row's values: one rule for batches and requests.

A feature is called once per distinct combination of its inputs, as long as a bounded memory holds the combination.
What it returns becomes text by the rule of :func:`tasks.logs.value_text.value_text`; where it raises, or returns
something else, the row's token is that of a missing value, and the input is counted.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from operator import itemgetter
from typing import Any

from tasks.errors import ConfigError
from tasks.features.kinds.declaration import STEPS_MS, Feature
from tasks.hashing.contract import HashContract
from tasks.hashing.moments import bad_time, from_ms, moment_parser, to_ms
from tasks.logs.value_text import value_text

MAX_REMEMBERED_CHARS = 256  # of inputs and results together
_MAX_SHOWN = 300
_VALUES = (str, int, float, bool, type(None))
Inputs = tuple[Any, ...]  # texts (empty: missing) and moments (None: missing)


class FeatureFaultError(ConfigError):
    """A feature raised, or returned what is no value; the message names the input."""


def call_feature(feature: Feature, inputs: Inputs) -> tuple[str, ...]:
    """Return the text of each token column for one combination of inputs.

    Parameters
    ----------
    feature
        What to call.
    inputs
        A text (empty: missing) per field, a moment or None per time.

    Raises
    ------
    FeatureFaultError
        If the feature raises, or returns something else than it declares.

    Examples
    --------
    >>> from tasks.features import feature
    >>> from tasks.features.kinds.declaration import declared
    >>> @feature("C15", buckets=[100, 500])
    ... def width(text: str | None) -> int | None:
    ...     return None if text is None else int(text)
    >>> [call_feature(declared(width), (text,)) for text in ("320", "500", "")]
    [('100..500',), ('500..',), ('',)]
    """
    try:
        value = feature.function(*[one or None for one in inputs])  # an empty text is missing
        if type(value) is str and feature.is_plain and value.isascii():
            return (value,)  # the most frequent case, in half the time
        several = (value,) if feature.columns[0] == feature.name else value
        fault = _fault(feature, value, several)
        if fault is None:
            texts = tuple([_text(feature, one) for one in several])
            for text in texts:
                text.encode()
            return texts
    except Exception as error:  # whatever the function raises
        fault = f"raises {type(error).__name__}: {' '.join(str(error).split())}"
    raise FeatureFaultError(
        f"feature {feature.name!r} {fault[:_MAX_SHOWN]}, for {shown(feature, inputs)}"
    )


def shown(feature: Feature, inputs: Inputs) -> str:
    """Return a combination of inputs as a message shows it.

    Examples
    --------
    >>> shown(Feature("any", ("C15", "@hour"), print, ("any",)), ("320", None))
    "C15='320', hour=None"
    """
    parts = []
    for name, value in zip(feature.inputs, inputs, strict=True):
        value = None if value == "" else value
        text = value.isoformat() if isinstance(value, datetime) else repr(value)
        parts.append(f"{name.lstrip('@')}={text[:_MAX_SHOWN]}")
    return ", ".join(parts)


def _fault(feature: Feature, value: Any, several: Any) -> str | None:
    """Return what is wrong with a feature's result, None if it is right."""
    n_values = len(feature.columns)
    if several is value and not (type(value) is tuple and len(value) == n_values):
        found = f"{len(value)} values" if type(value) is tuple else f"a {type(value).__name__}"
        return f"returns {found} instead of a tuple of {n_values}"
    allowed = _VALUES if feature.buckets is None else (int, float, type(None))
    for one in several:
        if type(one) not in allowed:
            wanted = "text, a number, a truth value or None"
            wanted = wanted if feature.buckets is None else "a number or None"
            return f"returns a {type(one).__name__} instead of {wanted}"
    return None


def _text(feature: Feature, value: Any) -> str:
    edges = feature.buckets
    if edges is None or value is None or value != value:
        return value_text(value)
    return bucket_names(edges)[bisect_right(edges, value)]


@lru_cache
def bucket_names(edges: tuple[float, ...]) -> list[str]:
    """Return the text of each bucket of a feature, from the lowest to the highest.

    Examples
    --------
    >>> bucket_names((0.1, 0.5))
    ['..0.1', '0.1..0.5', '0.5..']
    """
    texts = ["", *map(value_text, edges), ""]
    return [f"{low}..{high}" for low, high in pairwise(texts)]


class FeatureMemory(dict[Any, tuple[str, ...]]):
    """The texts of a feature by its inputs: called on the first use of a combination, remembered up to a bound.

    A key is the tuple of inputs, or the one input by itself. A full memory is emptied. A combination on which
    the feature fails is not remembered, so that each use is counted.

    Attributes
    ----------
    missing
        The very object that a failed lookup returns.
    n_failed
        Lookups for which the feature failed.
    """

    def __init__(self, feature: Feature, *, size: int):
        super().__init__()
        self.feature, self.n_failed = feature, 0
        self._size, self._is_single = size, len(feature.inputs) == 1
        self.missing = ("",) * len(feature.columns)

    def __missing__(self, key: Any) -> tuple[str, ...]:
        inputs = (key,) if self._is_single else key
        try:
            texts = call_feature(self.feature, inputs)
        except FeatureFaultError:
            self.n_failed += 1
            return self.missing
        n_chars = 0
        for one in (*inputs, *texts):
            n_chars += len(one) if type(one) is str else 0
        if n_chars <= MAX_REMEMBERED_CHARS:
            if len(self) >= self._size:
                self.clear()
            self[key] = texts
        return texts


class RowFeatures:
    """The features of a contract, one row at a time.

    Parameters
    ----------
    contract
        Whose features.
    memory_size
        Maximum number of combinations remembered per feature.

    Attributes
    ----------
    memories : list of FeatureMemory
        One per feature.
    places : list of list of int
        Per feature, where its inputs stand in :meth:`values`.
    columns : list of range
        Per feature, its token columns.
    """

    def __init__(self, contract: HashContract, *, memory_size: int = 16_384):
        self.time_column = contract.time_column if contract.reads_time else None
        self.memories = [FeatureMemory(one, size=memory_size) for one in contract.derived]
        self._contract, self._parse = contract, moment_parser(contract)
        self._read = lru_cache(maxsize=1024, typed=True)(self._moments)
        order = [*contract.single_fields, *STEPS_MS]
        self.places = [[order.index(name) for name in key.inputs] for key in contract.features]
        begins = [len(contract.single_fields)]
        for key in contract.features:
            begins.append(begins[-1] + len(key.columns))
        self.columns = [range(*pair) for pair in pairwise(begins)]
        self._picked = [
            (memory, itemgetter(*places))
            for memory, places in zip(self.memories, self.places, strict=True)
        ]

    def values(self, field_texts: Sequence[str], moment: Any) -> Inputs:
        """Return what features pick their inputs from: the text of each field, and the times.

        Raises
        ------
        InputError
            If the time cannot be read.
        """
        return (*field_texts, *self.moments(moment))

    def texts(self, values: Inputs) -> list[str]:
        """Return the text of each feature's token columns."""
        texts: list[str] = []
        for memory, pick in self._picked:
            texts += memory[pick(values)]
        return texts

    def moments(self, value: Any) -> tuple[datetime | None, ...]:
        """Return the time, the start of its hour and of its day; Nones if it is missing or no feature reads it."""
        if value is None or self.time_column is None:
            return _NO_MOMENTS
        try:
            return self._read(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise bad_time(self._contract, value, error) from None

    def _moments(self, value: Any) -> tuple[datetime, ...]:
        moment = value if isinstance(value, datetime) else self._parse(value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        moment_ms = to_ms(moment)
        return tuple([from_ms(moment_ms // step * step) for step in STEPS_MS.values()])

    def column_texts(self, number: int, inputs: Iterable[Inputs]) -> list[list[str]]:
        """Return the texts of a feature for many combinations of inputs: a list per token column."""
        memory = self.memories[number]
        keys = inputs if len(self.places[number]) > 1 else [key for (key,) in inputs]
        results = [memory[key] for key in keys]
        return [[texts[at] for texts in results] for at in range(len(memory.missing))]


_NO_MOMENTS: tuple[None, ...] = (None,) * len(STEPS_MS)
