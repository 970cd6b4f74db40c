"""The decorators that make a plain function a feature or a statistic of the past, and what they declare."""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

from tasks.errors import ConfigError
from tasks.features.kinds.past import Past

TIME, HOUR, DAY = (
    "@time",
    "@hour",
    "@day",
)  # of the impression, UTC; the start of its hour, of its day
STEPS_MS = {TIME: 1, HOUR: 3_600_000, DAY: 86_400_000}
_MARK = "_clicklab_feature"
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Feature:
    """A function of a row's values.

    Attributes
    ----------
    name
        The function's.
    inputs
        Fields, or one of the times (``TIME``, ``HOUR``, ``DAY``): one per parameter.
    function
        Takes one text (None: missing) per field and a ``datetime`` in UTC per time.
    columns
        Its token columns: its name, or ``name.value`` for each of several values.
    buckets
        Edges between the buckets of a number, ascending; None: the value itself is the token.
    is_statistic
        Whether the function takes impressions and clicks of earlier days instead; see :func:`statistic`.
    has_past
        Whether it is a statistic with its table, see :meth:`with_past`.
    """

    name: str
    inputs: tuple[str, ...]
    function: Callable[..., Any]
    columns: tuple[str, ...]
    buckets: tuple[float, ...] | None = None
    is_statistic: bool = False
    has_past: bool = False

    @cached_property
    def is_plain(self) -> bool:
        """Whether its one value is its token."""
        return self.buckets is None and self.columns == (self.name,)

    def with_past(self, past: Past) -> "Feature":
        """Return a statistic as a feature of its field and the day."""
        count, nothing = self.function, (None,) * len(self.columns)
        missing = nothing if self.columns[0] != self.name else None

        def counted(value: str | None, day: datetime | None) -> Any:
            found = past.before(value, day)
            return missing if found is None else count(*found)

        return replace(self, function=counted, has_past=True)

    @property
    def fields(self) -> tuple[str, ...]:
        """The inputs that are fields."""
        return tuple(name for name in self.inputs if name not in STEPS_MS)

    @property
    def reads_time(self) -> bool:
        """Whether an input is a time."""
        return any(name in STEPS_MS for name in self.inputs)


def feature(
    *inputs: str, buckets: Sequence[float] | None = None, values: Sequence[str] | None = None
) -> Callable[[Function], Function]:
    """Declare a function as a feature; it stays the plain function that it is.

    The function is pure: the same inputs give the same value, whenever and wherever it is called. It returns
    text, a whole number, a number, a truth value, or None (missing).

    Parameters
    ----------
    *inputs
        What its parameters get, in their order: names of fields, or one of the times. A missing value is None.
    buckets
        Ascending edges. The function returns a number, and the token names the bucket it lies in, such as
        ``2..5``: from 2 up to, but not including, 5.
    values
        Names of several values: the function then returns a tuple of that many, each a token column of its own,
        ``name.value``.

    Raises
    ------
    ConfigError
        If the declaration contradicts itself or the function.

    Examples
    --------
    >>> @feature("C15", "C16", buckets=[0.5, 2])
    ... def aspect(width: str | None, height: str | None) -> float | None:
    ...     return int(width) / int(height) if width and height else None
    >>> aspect("320", "50"), declared(aspect).columns
    (6.4, ('aspect',))
    """

    return _declaring("feature", inputs, inputs, buckets, values)


def statistic(
    field: str, *, buckets: Sequence[float] | None = None, values: Sequence[str] | None = None
) -> Callable[[Function], Function]:
    """Declare a function of the past of a field's value: its impressions and clicks on earlier days.

    The counts are those of the days before a row's own, never of its own day or later ones. They are frozen when
    rows are hashed: what lies in the model is the table up to the test rows, which later rows and requests see whole.
    A value without impressions on earlier days has no statistic: its token is that of a missing value.

    Parameters
    ----------
    field
        Whose values are counted.
    buckets, values
        As those of :func:`feature`.

    Raises
    ------
    ConfigError
        If the declaration contradicts itself or the function.

    Examples
    --------
    >>> @statistic("C17", buckets=[0.1, 0.2])
    ... def campaign_rate(impressions: int, clicks: int) -> float:
    ...     return clicks / impressions
    >>> campaign_rate(20, 3), declared(campaign_rate).inputs
    (0.15, ('C17', '@day'))
    """
    if isinstance(field, str) and field in STEPS_MS:
        raise ConfigError(
            f"a statistic counts the values of a field, found {field!r}; name a field"
        )
    return _declaring("statistic", (field, DAY), ("impressions", "clicks"), buckets, values)


def _declaring(
    kind: str,
    inputs: tuple[str, ...],
    parameters: tuple[str, ...],
    buckets: Sequence[float] | None,
    values: Sequence[str] | None,
) -> Callable[[Function], Function]:
    def declare(function: Function) -> Function:
        found = _declare(function, inputs, parameters, buckets, values)
        setattr(function, _MARK, replace(found, is_statistic=kind == "statistic"))
        return function

    if inspect.isfunction(inputs[0] if inputs else None):
        raise ConfigError(
            f'feature {inputs[0].__name__!r}: @{kind} stands alone; name its inputs, as in @{kind}("C15")'  # type: ignore[attr-defined]
        )
    return declare


def declared(function: Any) -> Feature | None:
    """Return what :func:`feature` declared of a function, None if it declared nothing."""
    found = getattr(function, _MARK, None)
    return found if isinstance(found, Feature) else None


def _declare(
    function: Any,
    inputs: tuple[str, ...],
    parameters: tuple[str, ...],
    buckets: Sequence[float] | None,
    values: Sequence[str] | None,
) -> Feature:
    if not inspect.isfunction(function) or inspect.iscoroutinefunction(function):
        raise ConfigError(f"@feature declares a plain function, found {function!r}")
    name = function.__name__
    if not inputs or not all(isinstance(one, str) and one for one in inputs):
        raise ConfigError(
            f"feature {name!r}: inputs are names of fields, TIME, HOUR or DAY, at least one, found {inputs!r}"
        )
    unknown = [one for one in inputs if one.startswith("@") and one not in STEPS_MS]
    if unknown:
        raise ConfigError(
            f"feature {name!r}: there is no time {unknown[0]!r}; use TIME, HOUR or DAY"
        )
    try:
        inspect.signature(function).bind(*parameters)
    except TypeError as error:
        raise ConfigError(
            f"feature {name!r} has {len(parameters)} inputs, but its function does not take so many ({error})"
        ) from None
    if buckets is not None and values is not None:
        raise ConfigError(
            f"feature {name!r}: `buckets` are for one number, `values` for several values; keep one of them"
        )
    columns = (name,) if values is None else _columns(name, values)
    return Feature(name, inputs, function, columns, _edges(name, buckets))


def _columns(name: str, values: Sequence[str]) -> tuple[str, ...]:
    if (
        isinstance(values, str)
        or len(set(values)) < max(len(values), 1)
        or not all(isinstance(value, str) and value.isidentifier() for value in values)
    ):
        raise ConfigError(
            f'feature {name!r}: `values` are different names, as in ["width", "height"], found {values!r}'
        )
    return tuple(f"{name}.{value}" for value in values)


def _edges(name: str, buckets: Sequence[float] | None) -> tuple[float, ...] | None:
    if buckets is None:
        return None
    edges = list(buckets)
    if (
        not edges
        or not all(type(edge) in (int, float) and math.isfinite(edge) for edge in edges)
        or any(low >= high for low, high in pairwise(edges))
    ):
        raise ConfigError(
            f"feature {name!r}: `buckets` are ascending numbers, as in [1, 2, 5], found {buckets!r}"
        )
    return tuple(float(edge) for edge in edges)
