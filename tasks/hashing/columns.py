"""Arrow columns as canonical texts: the distinct ones and, for each row, which of them it holds.

The rule of :func:`tasks.logs.value_text.value_text` applies whatever Arrow type a column has. A missing value
is one entry past the last text.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import InputError
from tasks.logs.value_text import is_number_type, is_text_type, number_texts


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
    if is_text_type(kind):
        return Column(_texts(array, name=name), None)
    if not (pa.types.is_dictionary(kind) or is_number_type(kind)):
        raise _no_text(kind, name=name)
    coded = array if pa.types.is_dictionary(kind) else array.dictionary_encode()
    texts = _texts(coded.dictionary, name=name)
    return Column(texts, _indices(coded.indices, missing=texts.n_texts))


def rows_of(column: Column) -> np.ndarray:
    """Return the entry of each row, int32 ``(n_rows,)``."""
    if column.indices is not None:
        return column.indices
    return np.arange(column.texts.n_texts, dtype=np.int32)


def text_list(texts: Texts, entries: np.ndarray) -> list[str]:
    """Return the texts of some entries; that of a missing value is empty.

    Examples
    --------
    >>> text_list(texts_of(["a", "bc"]), np.array([1, 2, 0]))
    ['bc', '', 'a']
    """
    wide = texts.offsets.dtype == np.int64
    buffers = [None, pa.py_buffer(texts.offsets), pa.py_buffer(texts.data)]
    kind = pa.large_string() if wide else pa.string()
    array = pa.Array.from_buffers(kind, texts.n_texts, buffers)
    places = pa.array(entries, mask=entries == texts.n_texts)
    return ["" if text is None else text for text in array.take(places).to_pylist()]


def texts_of(texts: Sequence[str]) -> Texts:
    """Return some texts laid end to end."""
    return _texts(pa.array(texts, pa.string()), name="")


def _no_text(kind: pa.DataType, *, name: str) -> InputError:
    return InputError(
        f"field {name!r} has the Arrow type {kind}; expected text, a number or a dictionary of those"
    )


def _indices(indices: pa.Array, *, missing: int) -> np.ndarray:
    wide = indices.cast(pa.int32()) if indices.type != pa.int32() else indices
    return read_only((wide.fill_null(missing) if wide.null_count else wide).to_numpy())


def _texts(values: pa.Array, *, name: str) -> Texts:
    kind = values.type
    if is_number_type(kind):
        values = number_texts(values)
    elif pa.types.is_string_view(kind):
        values = values.cast(pa.string())
    elif not is_text_type(kind):
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
    """Return a view that cannot be written; Arrow's buffers mostly are, and kernels are compiled for one kind."""
    view = array.view()
    view.flags.writeable = False
    return view
