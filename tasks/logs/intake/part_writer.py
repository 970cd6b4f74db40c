"""One Parquet file of a log: zstd, dictionary-encoded, without dictionary values that no row has."""

from pathlib import Path

import numba
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.logs.intake.row_hash import codes_of


class PartWriter:
    """One Parquet file; each write is a row group."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.n_rows = 0
        self._writer: pq.ParquetWriter | None = None

    def write(self, batches: list[pa.RecordBatch]) -> None:
        """Write the batches as one row group."""
        table = pa.Table.from_batches(batches)
        if len(batches) > 1:
            table = table.unify_dictionaries().combine_chunks()
        table = pa.table(
            [_compact(table.column(name)) for name in table.column_names], schema=table.schema
        )
        if self._writer is None:
            coded = [item.name for item in table.schema if pa.types.is_dictionary(item.type)]
            self._writer = pq.ParquetWriter(
                self.path, table.schema, compression="zstd", compression_level=1,
                use_dictionary=coded, write_statistics=False, dictionary_pagesize_limit=64 << 20,
            )  # fmt: skip
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self.n_rows += table.num_rows

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()


def _compact(column: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return a dictionary column without the values that no row has."""
    if not pa.types.is_dictionary(column.type):
        return column
    coded = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    codes = codes_of(coded)
    used = _used_values(codes, len(coded.dictionary))
    if used.all():
        return coded
    renumbered = _renumber(codes, (np.cumsum(used) - 1).astype(np.int32))
    indices = pa.array(renumbered, mask=codes < 0) if coded.null_count else pa.array(renumbered)
    return pa.DictionaryArray.from_arrays(indices, coded.dictionary.filter(pa.array(used)))


@numba.njit(cache=True, nogil=True)
def _used_values(codes, n_values):
    used = np.zeros(n_values, dtype=np.bool_)
    for row in range(codes.size):
        if codes[row] >= 0:
            used[codes[row]] = True
    return used


@numba.njit(cache=True, nogil=True)
def _renumber(codes, numbers):
    out = np.empty(codes.size, dtype=np.int32)
    for row in range(codes.size):
        out[row] = numbers[codes[row]] if codes[row] >= 0 else -1
    return out
