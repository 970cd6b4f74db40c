"""Rows that are not in the log: the place of each, the reason, and its text.

Reasons are given where a row is read: :mod:`tasks.logs.intake.canonical` (values), :mod:`tasks.logs.intake.csv_line` (lines),
:mod:`tasks.logs.intake.duplicates` (ids).
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.errors import InputError
from tasks.logs.intake.canonical import BadRow
from tasks.logs.intake.labels import LABEL

QUARANTINE = "quarantine.parquet"
_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("row", pa.int64()),
        ("reason", pa.string()),
        ("value", pa.string()),
        ("text", pa.string()),
    ]
)
_CHUNK = 10_000
_CHUNK_BYTES = 16 << 20
_HOPELESS = 100_000
_HOPELESS_SHARE = 0.2


class Quarantine:
    """Collects bad rows in a Parquet file, whose bytes follow from its rows alone.

    ``row`` is the line in a text file (its header is line 1) or the row of a Parquet file or simulated log
    (from 1).
    """

    def __init__(self, path: Path):
        self.path = path
        self.reasons: Counter[str] = Counter()
        self._examples: dict[str, BadRow] = {}
        self._rows: list[BadRow] = []  # not yet in a table
        self._n_row_bytes = 0
        self._tables: list[pa.Table] = []  # not yet written
        self._n_waiting = self._n_bytes = 0
        self._writer = pq.ParquetWriter(path, _SCHEMA, compression="zstd")

    @property
    def n_rows(self) -> int:
        """Number of rows collected."""
        return self.reasons.total()

    def add(self, rows: Sequence[BadRow]) -> None:
        """Add rows."""
        for row in rows:
            self.reasons[row.reason] += 1
            self._examples.setdefault(row.reason, row)
            self._rows.append(row)
            self._n_row_bytes += len(row.text) + len(row.value)
            if len(self._rows) >= _CHUNK or self._n_row_bytes >= _CHUNK_BYTES:
                self._tabulate()

    def add_batch(
        self, batch: pa.RecordBatch, *, files: pa.Array, rows: np.ndarray, reason: str, column: str
    ) -> None:
        """Add rows that are removed from the log, many at once; their text is their joined values."""
        values = batch.column(column).cast(pa.string())
        parts = [pc.fill_null(found.cast(pa.string()), "") for found in batch.columns]
        text = pc.binary_join_element_wise(*parts, ",")
        reasons = pa.repeat(pa.scalar(reason, pa.string()), batch.num_rows)
        found = [files, pa.array(rows, pa.int64()), reasons, values, text]
        self._add_table(pa.Table.from_arrays(found, schema=_SCHEMA))

    def add_file(self, path: Path, *, n_rows: int | None = None, n_lines: int = 0) -> None:
        """Add the rows of another quarantine, the first `n_rows` of them; `n_lines` stand before its first row."""
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group).slice(0, n_rows)
                n_rows = None if n_rows is None else n_rows - table.num_rows
                shifted = pc.add(table.column("row"), n_lines)
                self._add_table(table.set_column(1, "row", shifted))

    def _add_table(self, table: pa.Table) -> None:
        self._tabulate()
        for found in pc.value_counts(table.column("reason")).to_pylist():
            reason = found["values"]
            self.reasons[reason] += found["counts"]
            if reason not in self._examples:
                place = pc.index(table.column("reason"), reason).as_py()
                self._examples[reason] = BadRow(**table.slice(place, 1).to_pylist()[0])
        self._append(table)

    def _tabulate(self) -> None:
        if self._rows:
            columns = [
                pa.array([getattr(row, name) for row in self._rows], kind)
                for name, kind in zip(_SCHEMA.names, _SCHEMA.types, strict=True)
            ]
            self._rows, self._n_row_bytes = [], 0
            self._append(pa.Table.from_arrays(columns, schema=_SCHEMA))

    def _append(self, table: pa.Table) -> None:
        self._tables.append(table)
        self._n_waiting += table.num_rows
        self._n_bytes += int(_sizes(table).sum())
        while self._n_waiting >= _CHUNK or self._n_bytes >= _CHUNK_BYTES:
            self._write()

    def _write(self) -> None:
        """Write the next row group: up to the row that fills it."""
        table = pa.concat_tables(self._tables).combine_chunks()
        sizes = np.cumsum(_sizes(table))
        n_rows = min(_CHUNK, int(np.searchsorted(sizes, _CHUNK_BYTES)) + 1, table.num_rows)
        self._writer.write_table(table.slice(0, n_rows).combine_chunks())
        self._tables = [table.slice(n_rows)]
        self._n_waiting -= n_rows
        self._n_bytes -= int(sizes[n_rows - 1])

    def close(self) -> None:
        """Finish the file; closing twice is harmless."""
        if self._writer.is_open:
            self._tabulate()
            if self._n_waiting:
                self._write()
            self._writer.close()

    def refusal(
        self, source: str, *, n_rows_in: int, max_bad_share: float, kept_at: Path, stopped: bool
    ) -> InputError:
        """Return the error that explains, with an example, why the log is refused."""
        reason, n_rows = self.reasons.most_common(1)[0]
        row = self._examples[reason]
        read = f"the first {n_rows_in:,}" if stopped else f"{n_rows_in:,}"
        value = " ".join(row.value.split())
        said = "say in the schema what means a click: label: {column: ..., click: [...], no_click: [...]}"
        advice = said if reason == LABEL else "fix the log or the schema"
        return InputError(
            f"{source}: {self.n_rows:,} of {read} rows are bad ({self.n_rows / n_rows_in:.1%}, allowed {max_bad_share:.1%}); "
            f"most often: {reason} ({n_rows:,} rows, such as {value[:60]!r} in row {row.row} of {row.file}); "
            f"all of them are in {kept_at}; {advice}, or raise ingest.max_bad_share"
        )


def is_hopeless(n_bad: int, n_rows_in: int, max_bad_share: float) -> bool:
    """Return whether so many rows are bad that reading can stop."""
    return n_bad > _HOPELESS and n_bad > max(_HOPELESS_SHARE, max_bad_share) * n_rows_in


def _sizes(table: pa.Table) -> np.ndarray:
    """Return the bytes of each row's value and text."""
    value, text = (
        pc.fill_null(pc.binary_length(table.column(name)), 0) for name in ("value", "text")
    )
    return pc.add(value, text).to_numpy().astype(np.int64)
