"""Which texts are one value: a whole number and a boolean have one text, whatever program wrote them.

pandas writes an integer column with gaps as ``1005.0`` and a boolean as ``True``; typed columns and requests hold 1005
and true. Nothing else is changed by default: leading zeros, exponents, hex digits and versions such as ``1.10`` are
what tells values apart.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

EXACT = 2**53  # from here on, a float no longer tells neighboring integers apart
BOOLEANS: Mapping[str, str] = MappingProxyType(
    {text: text.lower() for text in ("True", "TRUE", "False", "FALSE")}
)
_MAX_POWER = 400  # beyond it, a short text stands for more digits than a float has


def _below(limit: int) -> str:
    """Return a regular expression of the positive integers below `limit`, without leading zeros."""
    digits = str(limit)
    parts = [rf"[1-9][0-9]{{0,{len(digits) - 2}}}"]
    for place, digit in enumerate(digits):
        low = "1" if place == 0 else "0"
        if digit > low:
            rest = len(digits) - place - 1
            parts.append(rf"{digits[:place]}[{low}-{int(digit) - 1}][0-9]{{{rest}}}")
    return "|".join(parts)


_WHOLE = rf"^(?:-?(0)|(-?(?:{_below(EXACT)})))\.0+$"
_SHAPE = r"^-?[0-9]+\.0+$"  # without groups, which take ten times as long
_NUMBER = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?$"
_whole, _number = re.compile(_WHOLE).fullmatch, re.compile(_NUMBER).fullmatch


def decimal_text(number: Decimal) -> str:
    """Return the canonical text of a decimal: as an integer's or a float's of the same value, otherwise its digits.

    Examples
    --------
    >>> [decimal_text(Decimal(text)) for text in ("1.50", "1005.00", "-0.0", "0.00001", "1e2")]
    ['1.5', '1005', '0', '1e-05', '100']
    """
    if not number.is_finite():
        return "" if number.is_nan() else repr(float(number))
    if number == number.to_integral_value():
        return str(int(number))
    text = repr(float(number))
    return text if Decimal(text) == number else f"{number:f}".rstrip("0")


class Spelling:
    """The one text of texts that programs write for the same value.

    Parameters
    ----------
    rule
        ``whole``: whole numbers and booleans, ``1005.0`` and ``1005``, ``True`` and ``true``. ``exact``: no text is
        changed. ``number``: also all other numbers, ``1.50`` and ``1.5``, ``1e3`` and ``1000``.

    Examples
    --------
    >>> texts = ["1005.0", "TRUE", "1.10", "007.0", "1e3"]
    >>> [[Spelling(rule)(text) for text in texts] for rule in ("whole", "number")]
    [['1005', 'true', '1.10', '007.0', '1e3'], ['1005', 'true', '1.1', '007.0', '1000']]
    """

    def __init__(self, rule: str = "whole"):
        self.rule = rule
        self.words = {} if rule == "exact" else BOOLEANS

    def __call__(self, text: str) -> str:
        """Return the one text; what this returns, it also returns for its own result."""
        if self.rule == "number":
            return _of_number(text) if _number(text) else self.words.get(text, text)
        if "." in text and self.rule == "whole":
            found = _whole(text)
            return (found[1] or found[2]) if found else text
        return self.words.get(text, text)

    def texts(self, values: pa.Array) -> pa.Array:
        """Return the one text of each of some texts, null where null; the array itself where nothing changes."""
        if self.rule == "exact" or not len(values):
            return values
        if self.rule == "number":
            if not _some_number(values):
                return values
            found = [text if text is None else self(text) for text in values.to_pylist()]
            return pa.array(found, values.type)
        data = _bytes_of(values)
        if b".0" in data and pc.any(pc.match_substring_regex(values, _SHAPE)).as_py():
            values = pc.replace_substring_regex(values, _WHOLE, r"\1\2")
        for word, text in self.words.items():
            if word.encode() in data:
                here = pc.equal(values, pa.scalar(word, values.type))
                values = pc.if_else(here, pa.scalar(text, values.type), values)
        return values


def _of_number(text: str) -> str:
    number = Decimal(text)
    return decimal_text(number) if abs(number.adjusted()) <= _MAX_POWER else text


def _some_number(values: pa.Array) -> bool:
    """Return whether some text is a number or a boolean, which it may take Python to write anew."""
    words = pa.array([*BOOLEANS], values.type)
    numbers = pc.match_substring_regex(values, _NUMBER)
    return bool(pc.any(pc.or_(numbers, pc.is_in(values, words))).as_py())


def _bytes_of(values: pa.Array) -> bytes:
    """Return the texts of an array end to end."""
    _, offsets, data = values.buffers()
    if data is None:
        return b""
    kind: type = np.int64 if pa.types.is_large_string(values.type) else np.int32
    places: np.ndarray = np.frombuffer(offsets, kind)[
        values.offset : values.offset + len(values) + 1
    ]
    return data.slice(int(places[0]), int(places[-1] - places[0])).to_pybytes()
