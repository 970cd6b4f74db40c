"""One Parquet file of a log; its bytes follow from its rows alone, not from how they came.

Row groups have :data:`GROUP_ROWS` rows each (the last one fewer), and the dictionary of a group holds the values of
its rows in order of their first appearance. zstd, dictionary-encoded.
"""

from concurrent.futures import Executor, Future
from pathlib import Path

import numba
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.logs.intake.row_hash import codes_of

GROUP_ROWS = 131_072


class PartWriter:
    """Write one Parquet file from batches of any size.

    Parameters
    ----------
    path, label, weight
        The file, and the columns of label and weight.
    pool
        Writes beside the caller, one group of rows at a time; None: the caller writes.

    Attributes
    ----------
    n_rows, n_waiting
        Rows added, and those of them that are not yet in the file.
    weight, weight_clicks
        Sums of the weight column over the rows in the file, and over its clicks, once it is complete; 0 without one.
    """

    def __init__(
        self, path: Path, *, label: str, weight: str | None = None, pool: Executor | None = None
    ):
        self.path, self._pool = path, pool
        self._writing: Future[None] | None = None
        self.n_rows = self.n_waiting = 0
        self.weight = self.weight_clicks = 0.0
        self._label, self._weight = label, weight
        self._waiting: list[pa.RecordBatch] = []
        self._writer: pq.ParquetWriter | None = None

    @property
    def is_open(self) -> bool:
        """Whether the file exists and is open, or soon will."""
        return self._writer is not None or self._writing is not None

    def add(self, batch: pa.RecordBatch) -> None:
        """Add rows; whole groups are written."""
        while self.n_waiting + batch.num_rows >= GROUP_ROWS:
            n_rows = GROUP_ROWS - self.n_waiting
            self._keep(batch.slice(0, n_rows))
            self._write()
            batch = batch.slice(n_rows)
        if batch.num_rows:
            self._keep(batch)

    def _keep(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self.n_waiting += batch.num_rows
        self.n_rows += batch.num_rows

    def _write(self) -> None:
        """Write what waits as one row group, when the one before is written."""
        batches, self._waiting, self.n_waiting = self._waiting, [], 0
        self._wait()
        if self._pool is None:
            self._write_group(batches)
        else:
            self._writing = self._pool.submit(self._write_group, batches)

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()

    def _write_group(self, batches: list[pa.RecordBatch]) -> None:
        table = pa.Table.from_batches(batches)
        if len(batches) > 1:
            table = table.unify_dictionaries().combine_chunks()
        table = pa.table(
            [_compact(table.column(name)) for name in table.column_names], schema=table.schema
        )
        if self._weight:
            label, weight = (table.column(name).to_numpy() for name in (self._label, self._weight))
            self.weight += float(weight.sum())
            self.weight_clicks += float(weight[label == 1].sum())
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            coded = [item.name for item in table.schema if pa.types.is_dictionary(item.type)]
            self._writer = pq.ParquetWriter(
                self.path, table.schema, compression="zstd", compression_level=1,
                use_dictionary=coded, write_statistics=False, dictionary_pagesize_limit=64 << 20,
            )  # fmt: skip
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))

    def last_group(self) -> None:
        """Begin to write what waits: nothing more is added."""
        if self._waiting:
            self._write()

    def end(self) -> None:
        """Write what waits, and finish the file."""
        self.last_group()
        self._wait()
        self.close()

    def close(self) -> None:
        """Close the file without what waits; nothing may be writing to it."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def detached(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows as a batch of their own, which keeps nothing of the larger one that they are a slice of."""
    copied = batch.take(pa.array(np.arange(batch.num_rows)))
    columns = [
        _compact(pa.chunked_array([one])) if pa.types.is_dictionary(one.type) else one
        for one in copied.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _compact(column: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return a dictionary column whose values are those of its rows, in order of first appearance."""
    if not pa.types.is_dictionary(column.type):
        return column
    coded = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    codes = codes_of(coded)
    renumbered, used = _by_appearance(codes, len(coded.dictionary))
    if used.size == len(coded.dictionary) and (used[1:] > used[:-1]).all():
        return coded
    indices = pa.array(renumbered, mask=codes < 0) if coded.null_count else pa.array(renumbered)
    return pa.DictionaryArray.from_arrays(indices, coded.dictionary.take(pa.array(used)))


@numba.njit(cache=True, nogil=True)
def _by_appearance(codes, n_values):
    """Return codes numbered by first appearance, and the old code of each new one."""
    numbers = np.full(n_values, -1, dtype=np.int32)
    used = np.empty(n_values, dtype=np.int32)
    out = np.empty(codes.size, dtype=np.int32)
    n_used = 0
    for row in range(codes.size):
        code = codes[row]
        if code < 0:
            out[row] = -1
            continue
        if numbers[code] < 0:
            numbers[code] = n_used
            used[n_used] = code
            n_used += 1
        out[row] = numbers[code]
    return out, used[:n_used]
