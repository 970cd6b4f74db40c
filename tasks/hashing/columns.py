"""What a value's canonical text is, for one Python value and for a whole Arrow column.

A column becomes distinct texts and, for each row, which of them it holds; whatever Arrow type it
comes in. A missing value is one entry past the last text.
"""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import InputError

_EXACT = 2.0**53


class Texts(NamedTuple):
    """UTF-8 texts laid end to end; text ``i`` is ``data[offsets[i]:offsets[i + 1]]``."""

    offsets: np.ndarray  # int32 or int64, (n_texts + 1,), read-only
    data: np.ndarray  # uint8, read-only

    @property
    def n_texts(self) -> int:
        """Number of texts, and the index that stands for a missing value."""
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


def read_column(array: pa.Array, *, name: str) -> Column:
    """Return texts and row indices of a categorical column.

    Raises
    ------
    InputError
        If the column's type is neither text nor number nor a dictionary of those.
    """
    kind = array.type
    if pa.types.is_null(kind):
        array, kind = array.cast(pa.string()), pa.string()
    if _is_text(kind):
        return Column(_texts(array, name=name), None)
    if not (pa.types.is_dictionary(kind) or _is_number(kind)):
        raise _no_text(kind, name=name)
    coded = array if pa.types.is_dictionary(kind) else array.dictionary_encode()
    texts = _texts(coded.dictionary, name=name)
    return Column(texts, _indices(coded.indices, missing=texts.n_texts))


def _is_text(kind: pa.DataType) -> bool:
    return (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _no_text(kind: pa.DataType, *, name: str) -> InputError:
    return InputError(
        f"field {name!r} has the Arrow type {kind}; expected text, a number or a dictionary of those"
    )


def _indices(indices: pa.Array, *, missing: int) -> np.ndarray:
    wide = indices.cast(pa.int32()) if indices.type != pa.int32() else indices
    return read_only((wide.fill_null(missing) if wide.null_count else wide).to_numpy())


def _texts(values: pa.Array, *, name: str) -> Texts:
    kind = values.type
    if pa.types.is_floating(kind):
        values = pa.array(
            [value_text(value) for value in values.to_numpy(zero_copy_only=False)], pa.string()
        )
    elif _is_number(kind) or pa.types.is_string_view(kind):
        values = values.cast(pa.string())
    elif not _is_text(kind):
        raise _no_text(kind, name=name)
    if values.null_count:
        values = pc.fill_null(values, "")
    _, offset_buffer, data_buffer = values.buffers()
    width = np.int64 if pa.types.is_large_string(values.type) else np.int32
    offsets = np.zeros(1, dtype=width)
    if len(values):
        offsets = np.frombuffer(offset_buffer, dtype=width)[
            values.offset : values.offset + len(values) + 1
        ]
    data = (
        np.frombuffer(data_buffer, dtype=np.uint8) if data_buffer else np.zeros(0, dtype=np.uint8)
    )
    return Texts(read_only(offsets), read_only(data))


def read_only(array: np.ndarray) -> np.ndarray:
    """Return a view that cannot be written; Arrow's buffers mostly are so, and kernels are compiled for one kind."""
    view = array.view()
    view.flags.writeable = False
    return view
