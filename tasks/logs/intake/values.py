"""Columns of raw logs as canonical values: texts as dictionary codes, numbers as float64."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import InputError
from tasks.logs.spelling import decimal_text
from tasks.logs.value_text import (
    ITEM_MARK,
    FieldText,
    floats_of,
    is_number_type,
    is_text_type,
    number_texts,
)


def distinct_texts(values: pa.Array, name: str, file: str) -> pa.Array:
    """Return the text of each value, null where null; InputError if the type holds neither text nor numbers nor times."""
    kind = values.type
    if pa.types.is_string(kind):
        return values
    if pa.types.is_null(kind):
        return pa.nulls(len(values), pa.string())
    if pa.types.is_float16(kind):
        raise _wrong_type(kind, name, file)
    if is_number_type(kind):
        return number_texts(values)
    if pa.types.is_decimal(kind):
        if kind.scale == 0:
            return values.cast(pa.string())
        found = [None if one is None else decimal_text(one) for one in values.to_pylist()]
        return pa.array(found, pa.string())
    if is_text_type(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return values.cast(pa.string())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        try:
            return values.cast(pa.string())
        except pa.ArrowInvalid:
            raise _wrong_type(kind, name, file) from None
    raise _wrong_type(kind, name, file)


def _wrong_type(kind: pa.DataType, name: str, file: str) -> InputError:
    return InputError(
        f"{file}: column {name!r} has the type {kind}; expected text or numbers: convert it where the log is written, or leave it out of the schema"
    )


def coded(column: pa.Array, name: str, file: str) -> tuple[pa.Array, pa.Array]:
    """Return for each row the place of its text, int32 and null where null, and the texts of those places."""
    if pa.types.is_dictionary(column.type):
        found = column
    else:
        try:
            found = column.dictionary_encode()
        except pa.ArrowNotImplementedError:
            raise _wrong_type(column.type, name, file) from None
    return found.indices.cast(pa.int32()), distinct_texts(found.dictionary, name, file)


def texts(column: pa.Array, name: str, file: str) -> pa.Array:
    """Return the text of each row, null where null."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return distinct_texts(column, name, file)


def codes(
    column: pa.Array, rule: FieldText, name: str, file: str
) -> tuple[pa.DictionaryArray, bool]:
    """Return a column as dictionary codes of canonical texts, null where missing, and whether blanks were taken off."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        if rule.kind != "list":
            raise InputError(
                f"{file}: column {name!r} has the type {column.type}; declare the field with `type: list`"
            )
        column = _joined(column, name, file)
    indices, raw = coded(column, name, file)
    found = rule.texts(raw)
    if not found.null_count and (found is raw or found.equals(raw)):
        return pa.DictionaryArray.from_arrays(indices, found), False
    has_blanks = rule.kind == "category" and bool(
        pc.any(pc.not_equal(pc.utf8_trim_whitespace(raw), raw)).as_py()
    )
    # missing values, blanks taken off, and distinct floats such as 0.0 and -0.0 share a text
    again = found.dictionary_encode()
    places = again.indices.cast(pa.int32()).take(indices)
    return pa.DictionaryArray.from_arrays(places, again.dictionary), has_blanks and rule.strips


def _joined(column: pa.Array, name: str, file: str) -> pa.Array:
    """Return lists as text, each item followed by the mark between items."""
    items = distinct_texts(pc.list_flatten(column), name, file)
    marked = pc.binary_join_element_wise(pc.fill_null(items, ""), "", ITEM_MARK)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), marked), "")


def numbers(column: pa.Array, rule: FieldText, name: str, file: str) -> tuple[pa.Array, np.ndarray]:
    """Return a column as float64, null where missing or unreadable, and which rows are unreadable."""
    indices, found = coded(column, name, file)
    values, unreadable = rule.numbers(found)
    rows = indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return values.take(indices), np.append(unreadable, False)[rows]


def floats(column: pa.Array, name: str, file: str) -> np.ndarray:
    """Return a column as float64, NaN where there is no number."""
    if is_number_type(column.type) and not pa.types.is_float16(column.type):
        return floats_of(column)
    try:
        return texts(column, name, file).cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        indices, found = coded(column, name, file)
        values = np.array([*map(_float, found.to_pylist()), math.nan])
        return values[indices.fill_null(-1).to_numpy(zero_copy_only=False)]


def _float(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
