"""Checks of learners' parameters, with one message for all."""

import math
from typing import Any

from tasks.errors import ConfigError
from tasks.logs.value_text import is_integer, is_number


def require_number(kind: str, name: str, value: Any, *, positive: bool = False) -> None:
    """Raise ConfigError unless the value is a finite number of 0 or above, or above 0 if `positive`.

    Examples
    --------
    >>> require_number("ftrl", "alpha", 0, positive=True)
    Traceback (most recent call last):
    tasks.errors.ConfigError: ftrl: alpha must be a finite number above 0, found 0
    """
    if is_number(value) and math.isfinite(value) and (value > 0 or (value == 0 and not positive)):
        return
    bound = "above 0" if positive else "0 or above"
    raise ConfigError(f"{kind}: {name} must be a finite number {bound}, found {value!r}")


def is_integer_between(value: Any, low: int, high: int) -> bool:
    """Return whether the value is an integer from `low` to `high`, both included."""
    return is_integer(value) and low <= int(value) <= high
