"""How a value becomes text: one rule for raw logs, training rows and live requests."""

from numbers import Integral, Real
from typing import Any, TypeGuard

import numpy as np
import pyarrow as pa

_EXACT = 2.0**53  # above it, a float no longer tells neighboring integers apart


def value_text(value: Any) -> str:
    """Return the canonical text of one value; the empty text is a missing value's.

    An integer is its decimal digits; a float without a fraction is written as an integer, because
    pandas turns an integer column with gaps into floats; any other float is its shortest decimal.

    Raises
    ------
    TypeError
        If the value is neither text nor number nor missing.

    Examples
    --------
    >>> [value_text(value) for value in ("1fbe01fe", 1005, 1005.0, 0.5, True, None, float("nan"))]
    ['1fbe01fe', '1005', '1005', '0.5', 'true', '', '']
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return _float_text(value)
    # pandas' missing values, without importing pandas
    if type(value).__name__ in ("NAType", "NaTType"):
        return ""
    raise TypeError(f"expected text, a number or nothing, found {type(value).__name__}")


def _float_text(value: Any) -> str:
    # by way of text, because a float32's shortest decimal is what a request would send
    number = float(str(value)) if isinstance(value, np.floating) else float(value)
    if number != number:
        return ""
    return str(int(number)) if abs(number) < _EXACT and number == int(number) else repr(number)


def number_texts(values: pa.Array) -> pa.Array:
    """Return :func:`value_text` of each value of an Arrow array of numbers or booleans, null where null.

    Examples
    --------
    >>> number_texts(pa.array([1.0, 0.5])).to_pylist(), number_texts(pa.array([True, None])).to_pylist()
    (['1', '0.5'], ['true', None])
    """
    if not pa.types.is_floating(values.type):
        return values.cast(pa.string())
    texts = [value_text(value) for value in values.to_numpy(zero_copy_only=False)]
    return pa.array(texts, pa.string())


def is_text_type(kind: pa.DataType) -> bool:
    """Return whether an Arrow type holds text."""
    return (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_number_type(kind: pa.DataType) -> bool:
    """Return whether an Arrow type holds numbers or booleans."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a knob's value is a number; a boolean is none, though Python counts it as one.

    Examples
    --------
    >>> is_number(0.5), is_number(np.float32(1)), is_number(True), is_number("1")
    (True, True, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool)


def is_integer(value: Any) -> TypeGuard[int]:
    """Return whether a knob's value is an integer; a boolean is none.

    Examples
    --------
    >>> is_integer(3), is_integer(3.0), is_integer(True)
    (True, False, False)
    """
    return isinstance(value, Integral) and not isinstance(value, bool)
