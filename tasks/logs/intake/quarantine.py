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
    """Collects bad rows in a Parquet file.

    ``row`` is the line in a text file (its header is line 1) or the row of a Parquet file or simulated log
    (from 1).
    """

    def __init__(self, path: Path):
        self.path = path
        self.reasons: Counter[str] = Counter()
        self._examples: dict[str, BadRow] = {}
        self._waiting: list[BadRow] = []
        self._n_bytes = 0
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
            self._waiting.append(row)
            self._n_bytes += len(row.text) + len(row.value)
            if len(self._waiting) >= _CHUNK or self._n_bytes >= _CHUNK_BYTES:
                self._flush()

    def add_batch(
        self, batch: pa.RecordBatch, *, files: pa.Array, rows: np.ndarray, reason: str, column: str
    ) -> None:
        """Add rows that are removed from the log, many at once; their text is their joined values."""
        values = batch.column(column)
        parts = [pc.fill_null(found.cast(pa.string()), "") for found in batch.columns]
        text = pc.binary_join_element_wise(*parts, ",")
        reasons = pa.repeat(pa.scalar(reason, pa.string()), batch.num_rows)
        self._flush()
        self._writer.write_batch(
            pa.RecordBatch.from_arrays(
                [files, pa.array(rows), reasons, values, text], schema=_SCHEMA
            )
        )
        self.reasons[reason] += batch.num_rows
        file, value, line = (found[0].as_py() for found in (files, values, text))
        self._examples.setdefault(reason, BadRow(file, int(rows[0]), reason, value, line))

    def _flush(self) -> None:
        if self._waiting:
            columns = [
                pa.array([getattr(row, name) for row in self._waiting], kind)
                for name, kind in zip(_SCHEMA.names, _SCHEMA.types, strict=True)
            ]
            self._writer.write_table(pa.Table.from_arrays(columns, schema=_SCHEMA))
            self._waiting.clear()
            self._n_bytes = 0

    def close(self) -> None:
        """Finish the file; closing twice is harmless."""
        if self._writer.is_open:
            self._flush()
            self._writer.close()

    def is_hopeless(self, n_rows_in: int, max_bad_share: float) -> bool:
        """Return whether so many rows are bad that reading can stop."""
        return (
            self.n_rows > _HOPELESS
            and self.n_rows > max(_HOPELESS_SHARE, max_bad_share) * n_rows_in
        )

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
