"""What a value's canonical text is, for one Python value and for a whole Arrow column.

A column becomes distinct texts and, for each row, which of them it holds; whatever Arrow type it
comes in. The last text of a column is always the empty one: it stands for a missing value.
"""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import InputError

_EXACT = 2.0**53


class Texts(NamedTuple):
    """UTF-8 texts laid end to end; text ``i`` is ``data[offsets[i]:offsets[i + 1]]``."""

    offsets: np.ndarray  # int64, (n_texts + 1,)
    data: np.ndarray  # uint8

    @property
    def n_texts(self) -> int:
        """Number of texts, the empty one at the end counted."""
        return self.offsets.size - 1


class Column(NamedTuple):
    """The texts of a column and the text of each row; without `indices`, row i holds text i."""

    texts: Texts
    indices: np.ndarray | None  # int32, (n_rows,)


def value_text(value: Any) -> str:
    """Return the canonical text of one value; the empty text is a missing value's.

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
    if type(value).__name__ in ("NAType", "NaTType"):  # pandas' missing values, without importing pandas
        return ""
    raise TypeError(f"expected text, a number or nothing, found {type(value).__name__}")


def _float_text(value: Any) -> str:
    number = float(str(value)) if isinstance(value, np.floating) else float(value)  # shortest decimal of a float32
    if number != number:
        return ""
    return str(int(number)) if abs(number) < _EXACT and number == int(number) else repr(number)


def read_column(array: pa.Array, *, name: str) -> Column:
    """Return texts and row indices of a categorical column.

    Raises
    ------
    InputError
        If the column's type is neither text nor number nor a dictionary of those.
    """
    kind = array.type
    if pa.types.is_dictionary(kind) and len(array.dictionary) > max(len(array), 1):
        array = array.dictionary_decode()  # a slice of few rows: hash those, not the whole dictionary
        kind = array.type
    if pa.types.is_dictionary(kind):
        texts = _texts(array.dictionary, name=name)
        return Column(texts, _indices(array.indices, missing=texts.n_texts - 1))
    if _is_text(kind):
        return Column(_texts(array, name=name), None)
    if pa.types.is_null(kind):
        return Column(Texts(np.zeros(len(array) + 2, dtype=np.int64), np.zeros(0, dtype=np.uint8)), None)
    coded = array.dictionary_encode()
    texts = _texts(coded.dictionary, name=name)
    return Column(texts, _indices(coded.indices, missing=texts.n_texts - 1))


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _indices(indices: pa.Array, *, missing: int) -> np.ndarray:
    wide = indices.cast(pa.int32()) if indices.type != pa.int32() else indices
    return (wide.fill_null(missing) if wide.null_count else wide).to_numpy()


def _texts(values: pa.Array, *, name: str) -> Texts:
    kind = values.type
    if pa.types.is_floating(kind):
        values = pa.array([value_text(value) for value in values.to_numpy(zero_copy_only=False)], pa.string())
    elif pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_string_view(kind):
        values = values.cast(pa.string())
    elif not _is_text(kind):
        raise InputError(f"field {name!r} has the Arrow type {kind}; expected text, a number or a dictionary of those")
    if values.null_count:
        values = pc.fill_null(values, "")
    _, offset_buffer, data_buffer = values.buffers()
    n_texts = len(values)
    offsets = np.zeros(n_texts + 2, dtype=np.int64)
    if n_texts:
        width = np.int64 if pa.types.is_large_string(values.type) else np.int32
        first = values.offset
        offsets[:-1] = np.frombuffer(offset_buffer, dtype=width)[first : first + n_texts + 1]
    offsets[-1] = offsets[-2]
    data = np.frombuffer(data_buffer, dtype=np.uint8) if data_buffer else np.zeros(0, dtype=np.uint8)
    return Texts(offsets, data)
