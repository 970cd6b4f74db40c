"""The canonical log: Parquet in time order, one folder per day, and a manifest that describes it.

Conventions: rows are numbered from 0 in time order over the whole log, so that a span of rows is also
a span of time. Every field is a dictionary of texts, null where missing; the label is int8, 0 or 1;
the time is UTC. The manifest is written last: a folder without one is not a log.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import InputError
from tasks.logs.value_text import ITEM_MARK
from tasks.schema import Schema

MANIFEST = "manifest.json"
DUPLICATE = "duplicate id"
FORMAT = 1
CODES = pa.dictionary(pa.int32(), pa.string())
TIME = pa.timestamp("us", tz="UTC")


def arrow_schema(schema: Schema, *, has_truth: bool) -> pa.Schema:
    """Return names and types of the canonical log's columns."""
    columns = [(schema.id, pa.string())] if schema.id else []
    columns += [(schema.label, pa.int8()), (schema.time_column, TIME)]
    columns += [(schema.weight_column, pa.float64())] if schema.weight_column else []
    columns += [
        (spec.name, pa.float64() if spec.kind == "number" else CODES) for spec in schema.fields
    ]
    columns += [(schema.truth, pa.float64())] if has_truth and schema.truth else []
    return pa.schema(columns)


class Log:
    """A log on disk. Open it with :meth:`open`.

    Attributes
    ----------
    folder : Path
    manifest : Mapping
        Written by ``ingest``: rows, time span, days, digest, notes.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any]):
        self.folder = folder
        self.manifest = manifest

    @classmethod
    def open(cls, folder: str | Path) -> "Log":
        """Return the log in that folder (or of that manifest).

        Raises
        ------
        InputError
            If there is no complete log: no manifest, another format, or missing files.
        """
        folder = Path(folder)
        folder = folder.parent if folder.name == MANIFEST else folder
        try:
            manifest = json.loads((folder / MANIFEST).read_text())
        except FileNotFoundError:
            raise InputError(
                f"{folder}: no {MANIFEST}, so no complete log; run the task `ingest`"
            ) from None
        except (OSError, ValueError):
            raise InputError(
                f"{folder / MANIFEST}: not readable; run the task `ingest` again"
            ) from None
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise InputError(
                f"{folder / MANIFEST}: not a log of format {FORMAT}; run the task `ingest` again"
            )
        lost = [
            file["path"]
            for day in manifest["days"]
            for file in day["files"]
            if not (folder / file["path"]).is_file()
        ]
        if lost:
            raise InputError(
                f"{folder}: {lost[0]} is missing from the log; run the task `ingest` again"
            )
        return cls(folder, manifest)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.manifest["n_rows"])

    @property
    def digest(self) -> str:
        """Content digest: the same rows have the same digest, however they are stored or batched."""
        return str(self.manifest["digest"])

    @property
    def ctr(self) -> float:
        """Share of impressions that were clicked, in [0, 1]: of rows, by their weights if they have some."""
        if "weight" in self.manifest:
            return self.manifest["weight_clicks"] / self.manifest["weight"]
        return self.manifest["n_clicks"] / self.n_rows

    @property
    def time_span(self) -> tuple[datetime, datetime]:
        """First and last moment, UTC."""
        first, last = (
            datetime.fromisoformat(self.manifest[key]) for key in ("time_min", "time_max")
        )
        return first.astimezone(UTC), last.astimezone(UTC)

    @property
    def rows_by_day(self) -> dict[date, int]:
        """Number of rows of each day that has any, in order."""
        return {date.fromisoformat(day["day"]): day["n_rows"] for day in self.manifest["days"]}

    @property
    def rows_by_hour(self) -> dict[datetime, int]:
        """Number of rows of each hour that has any, in order."""
        hours = self.manifest["hours"]
        return {
            datetime.fromisoformat(f"{hour}:00:00+00:00"): n_rows for hour, n_rows in hours.items()
        }

    @property
    def columns(self) -> list[str]:
        """Names of the columns, as stored."""
        return list(self.manifest["columns"])

    @cached_property
    def _files(self) -> list[tuple[Path, int]]:
        return [
            (self.folder / file["path"], file["n_rows"])
            for day in self.manifest["days"]
            for file in day["files"]
        ]

    def batches(
        self,
        *,
        columns: Sequence[str] | None = None,
        start: int = 0,
        stop: int | None = None,
        batch_rows: int = 65_536,
    ) -> Iterator[pa.RecordBatch]:
        """Yield rows `start` to `stop` (exclusive) in time order; columns in the requested order.

        Batches have at most `batch_rows` rows; only the row groups needed are read, so memory
        does not grow with the log.
        """
        names = list(columns) if columns is not None else self.columns
        unknown = sorted(set(names) - set(self.columns))
        if unknown:
            raise InputError(
                f"{self.folder}: the log has no column {unknown[0]!r}; it has {', '.join(self.columns)}"
            )
        start, stop = max(start, 0), self.n_rows if stop is None else min(stop, self.n_rows)
        offset = 0
        for path, n_rows in self._files:
            if offset < stop and offset + n_rows > start:
                yield from _file_batches(path, names, start - offset, stop - offset, batch_rows)
            offset += n_rows

    def to_pandas(
        self, columns: Sequence[str] | None = None, start: int = 0, stop: int | None = None
    ) -> pd.DataFrame:
        """Return rows `start` to `stop` as a frame: fields as categories, the time in UTC."""
        names = list(columns) if columns is not None else self.columns
        pieces = list(self.batches(columns=names, start=start, stop=stop))
        if not pieces:
            schema = pq.read_schema(self._files[0][0])
            return pa.schema([schema.field(name) for name in names]).empty_table().to_pandas()
        return pa.Table.from_batches(pieces).unify_dictionaries().to_pandas()

    def raw_row(self, row: int, schema: Schema) -> dict[str, Any]:
        """Return row number `row` as a request would carry it: the time as text, and every field, a list as one."""
        if not 0 <= row < self.n_rows:
            raise InputError(f"row {row} is not in the log; it has rows 0 to {self.n_rows - 1}")
        columns = [schema.time_column, *schema.field_names]
        batch = next(self.batches(columns=columns, start=row, stop=row + 1))
        values = {name: batch.column(name)[0].as_py() for name in schema.field_names}
        for spec in schema.fields:
            if spec.kind == "list" and values[spec.name] is not None:
                values[spec.name] = values[spec.name].split(ITEM_MARK)
        moment = batch.column(schema.time_column)[0].as_py()
        return ({schema.time_column: schema.time.write(moment)} if schema.has_time else {}) | values


def _file_batches(
    path: Path, names: list[str], start: int, stop: int, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Yield rows `start` to `stop` of one file, row group by row group."""
    with pq.ParquetFile(path) as file:
        first = 0
        for group in range(file.metadata.num_row_groups):
            n_rows = file.metadata.row_group(group).num_rows
            low, high = max(start - first, 0), min(stop - first, n_rows)
            first += n_rows
            if low >= high:
                continue
            table = file.read_row_group(group, columns=names).select(names).combine_chunks()
            (whole,) = table.to_batches()
            for begin in range(low, high, batch_rows):
                yield whole.slice(begin, min(batch_rows, high - begin))


def ticks_of(column: pa.Array) -> np.ndarray:
    """Return the log's time column as int64 microseconds since 1970, UTC."""
    return column.cast(pa.int64()).to_numpy(zero_copy_only=False)
