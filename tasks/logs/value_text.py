"""How a value becomes text: one rule for raw logs, training rows and live requests.

:func:`value_text` knows types; :class:`FieldText` also knows what the schema says of the field.
"""

import math
import re
from decimal import Decimal
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.logs.spelling import EXACT, Spelling, decimal_text

if TYPE_CHECKING:
    from tasks.schema import Field, Schema

ITEM_MARK = "\x1f"  # between the items of a list in its canonical text
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NAN = "nan"
_TRUTHS = {"true": 1.0, "false": 0.0}  # of a boolean in a field of numbers


def value_text(value: Any) -> str:
    """Return the canonical text of one value; the empty text is a missing value's.

    An integer is its decimal digits; a float without a fraction is written as an integer, because
    pandas turns an integer column with gaps into floats; any other float is its shortest decimal, and a decimal is
    written as the integer or float of its value.

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
    if isinstance(value, Decimal):
        return decimal_text(value)
    # pandas' missing values, without importing pandas
    if type(value).__name__ in ("NAType", "NaTType"):
        return ""
    raise TypeError(f"expected text, a number or nothing, found {type(value).__name__}")


def _float_text(value: Any) -> str:
    # by way of text, because a float32's shortest decimal is what a request would send
    number = float(str(value)) if isinstance(value, np.floating) else float(value)
    if number != number:
        return ""
    return str(int(number)) if abs(number) < EXACT and number == int(number) else repr(number)


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


class FieldText:
    """Values of one field to canonical text; missing values are empty, whatever stands for them.

    Missing is nothing, an empty text, a word of the schema's ``missing`` and the field's own ``missing`` constant.
    Blanks around a value are taken off first unless the schema says ``keep_spaces``, and then each value has the one
    text of :class:`tasks.logs.spelling.Spelling`. What this returns, it also returns for its own result.

    Parameters
    ----------
    schema, field
        The declaration of the log, and of the field.

    Examples
    --------
    >>> from tasks.schema import Schema
    >>> schema = Schema.from_dict(
    ...     {
    ...         "name": "shop",
    ...         "label": "click",
    ...         "missing": ["NULL"],
    ...         "fields": {"os": {"missing": "none"}, "floor": {"type": "number"}, "tags": {"type": "list"}},
    ...     }
    ... )
    >>> os, floor, tags = (FieldText(schema, field) for field in schema.fields)
    >>> [os(value) for value in (" ios", 7.0, "7.0", True, "True", "none", "NULL", None)]
    ['ios', '7', '7', 'true', 'true', '', '', '']
    >>> [floor(value) for value in ("1.50", 2, " ")], floor.number("1.50")
    (['1.5', '2', ''], 1.5)
    >>> tags.items("b|a| b|NULL"), tags(["b", "a"])
    (['b', 'a'], 'b\\x1fa')
    """

    def __init__(self, schema: "Schema", field: "Field"):
        self.kind = field.kind
        self._keep_spaces = schema.keep_spaces
        self._separator = field.separator
        self._spelling = Spelling(field.spelling)
        words = {*schema.missing, *([] if field.missing is None else [field.missing])}
        self._missing = frozenset({"", *map(self._spelled, words)})
        self._is_plain = self._spelling.rule != "number"
        spelled = self._spelling.words.items()
        words_of_values = {word: text for word, text in spelled if text not in self._missing}
        gone = (word for word, text in spelled if text in self._missing)
        self._words = words_of_values | dict.fromkeys([*gone, *self._missing], "")
        self._missing_numbers = {float(text) for text in self._missing if _NUMBER.fullmatch(text)}

    @property
    def strips(self) -> bool:
        """Whether blanks around a value are taken off."""
        return not self._keep_spaces

    def _spelled(self, text: str) -> str:
        return self._spelling(text if self._keep_spaces else text.strip())

    def __call__(self, value: Any) -> str:
        """Return the canonical text of a value: text, a number, nothing; for a list field also a list of those.

        Raises
        ------
        TypeError
            If the value is of another type.
        ValueError
            If the field is a number, and the value is none.
        """
        if self.kind == "number":
            return value_text(self.number(value))
        if self.kind == "list":
            return ITEM_MARK.join(self.items(value))
        text = value if type(value) is str else value_text(value)
        if not self._keep_spaces:
            text = text.strip()
        if self._is_plain and "." not in text:
            return self._words.get(text, text)
        text = self._spelling(text)
        return "" if text in self._missing else text

    def items(self, value: Any) -> list[str]:
        """Return the items of a list, without missing ones and repetitions, in order."""
        if isinstance(value, list | tuple | np.ndarray):
            texts = [value_text(one) for one in value]
        else:
            text = value_text(value)
            texts = text.split(ITEM_MARK if ITEM_MARK in text else self._separator)
        return [
            text for text in dict.fromkeys(map(self._spelled, texts)) if text not in self._missing
        ]

    def number(self, value: Any) -> float:
        """Return a finite number, NaN where it is missing; ValueError if the value is none."""
        text = value_text(value).strip()
        text = self._words.get(text, text)
        if not text or text.lower() == _NAN:
            return math.nan
        number = float(text) if _NUMBER.fullmatch(text) else _TRUTHS.get(text, math.inf)
        if number in self._missing_numbers:
            return math.nan
        if math.isinf(number):
            raise ValueError(f"{text[:60]!r} is not a finite number")
        return number + 0.0  # no negative zero

    def texts(self, values: pa.Array) -> pa.Array:
        """Return the canonical text of each of some texts, null where missing; those of lists are joined."""
        if self.kind == "list":
            joined = [text and self(text) for text in values.to_pylist()]
            return pa.array([text or None for text in joined], pa.string())
        if not self._keep_spaces and may_have_blanks(values):
            values = pc.utf8_trim_whitespace(values)
        values = self._spelling.texts(values)
        for word in self._missing:
            if pc.index(values, word).as_py() >= 0:
                values = pc.if_else(pc.equal(values, word), pa.scalar(None, values.type), values)
        return values

    def numbers(self, values: pa.Array) -> tuple[pa.Array, np.ndarray]:
        """Return texts or numbers as float64, null where missing or unreadable, and where they are unreadable."""
        if is_number_type(values.type) and not self._missing - {""}:
            floats = floats_of(values)
            unreadable = np.isinf(floats)
        else:
            texts = number_texts(values) if is_number_type(values.type) else values
            floats = np.full(len(texts), np.nan)
            unreadable = np.zeros(len(texts), dtype=bool)
            for place, text in enumerate(texts.to_pylist()):
                try:
                    floats[place] = self.number(text)
                except ValueError:
                    unreadable[place] = True
        return pa.array(floats + 0.0, mask=np.isnan(floats) | unreadable), unreadable


def floats_of(values: pa.Array) -> np.ndarray:
    """Return numbers or booleans as float64, NaN where null; a float32 is its shortest decimal, as a request sends it."""
    if pa.types.is_float32(values.type):
        short: np.ndarray = values.to_numpy(zero_copy_only=False)
        return short.astype("U32").astype(float)
    return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def may_have_blanks(values: pa.StringArray) -> bool:
    """Return whether some text begins or ends with a blank, or with a letter that is not ASCII and so may be one.

    Examples
    --------
    >>> may_have_blanks(pa.array(["a b", "", None])), may_have_blanks(pa.array(["a", "b "]))
    (False, True)
    """
    _, offset_buffer, data_buffer = values.buffers()
    if not len(values) or data_buffer is None or not data_buffer.size:
        return False
    wide = pa.types.is_large_string(values.type)
    kind = np.int64 if wide else np.int32
    offsets: np.ndarray = np.frombuffer(offset_buffer, kind)
    offsets = offsets[values.offset : values.offset + len(values) + 1]
    filled = offsets[1:] > offsets[:-1]
    letters = np.frombuffer(data_buffer, np.uint8)
    ends = letters[np.concatenate([offsets[:-1][filled], offsets[1:][filled] - 1])]
    return bool(((ends <= ord(" ")) | (ends > ord("~"))).any())


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
