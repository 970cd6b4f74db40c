"""The Parquet files of a log: rows go to the file of their day, and a day ends up in order of time."""

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.logs.intake.row_hash import codes_of, hash_rows
from tasks.logs.log import ticks_of

HOUR, DAY = 3_600_000_000, 86_400_000_000
_GROUP_ROWS = 131_072
_BUFFERED_ROWS = 2_000_000
_OPEN_FILES = 64
_SORT_ROWS = 1_000_000


@dataclass
class Day:
    """One day's rows: the files, and what is in them."""

    number: int  # days since 1970
    files: list[tuple[Path, int]] = field(default_factory=list)
    n_rows: int = 0
    n_clicks: int = 0
    hours: Counter[int] = field(default_factory=Counter)
    first_tick: int = 0
    last_tick: int = 0
    in_order: bool = True
    content: Any = field(default_factory=hashlib.sha256)

    @property
    def name(self) -> str:
        """The date, ISO format."""
        return str(np.datetime64(self.number, "D"))

    def count(self, ticks: np.ndarray, labels: np.ndarray, hashes: np.ndarray) -> None:
        """Take rows into account that come next."""
        if not ticks.size:
            return
        self.in_order &= bool((ticks[1:] >= ticks[:-1]).all()) and (
            not self.n_rows or bool(ticks[0] >= self.last_tick)
        )
        low, high = int(ticks.min()), int(ticks.max())
        self.first_tick = min(self.first_tick, low) if self.n_rows else low
        self.last_tick = max(self.last_tick, high) if self.n_rows else high
        self.n_rows += ticks.size
        self.n_clicks += int(labels.sum())
        counts = np.bincount((ticks - self.number * DAY) // HOUR, minlength=24)
        self.hours.update(
            {self.number * 24 + hour: int(counts[hour]) for hour in np.flatnonzero(counts).tolist()}
        )
        self.content.update(np.ascontiguousarray(hashes).data)


class DayFiles:
    """Write rows by day, in any order; :meth:`finish` puts days in order and takes duplicates out."""

    def __init__(self, folder: Path, *, label: str, time: str):
        self._folder, self._label, self._time = folder, label, time
        self.days: dict[int, Day] = {}
        self._waiting: dict[int, list[pa.RecordBatch]] = {}
        self._n_waiting: Counter[int] = Counter()
        self._open: OrderedDict[int, _PartWriter] = OrderedDict()

    def add(self, batch: pa.RecordBatch, *, keys: np.ndarray | None) -> np.ndarray:
        """Take rows in and return the day of each, int32; `keys` are the hashes of their ids."""
        ticks = ticks_of(batch.column(self._time))
        labels = batch.column(self._label).to_numpy(zero_copy_only=False)
        hashes = hash_rows(batch, keys=keys)
        numbers = (ticks // DAY).astype(np.int32)
        found = np.unique(numbers)
        for number in found.tolist():
            day = self.days.setdefault(number, Day(number))
            part, chosen = batch, [ticks, labels, hashes]
            if found.size > 1:
                rows = np.flatnonzero(numbers == number)
                steady = rows[-1] - rows[0] + 1 == rows.size
                part = batch.slice(rows[0], rows.size) if steady else batch.take(pa.array(rows))
                chosen = [values[rows] for values in chosen]
            day.count(*chosen)
            self._waiting.setdefault(number, []).append(part)
            self._n_waiting[number] += part.num_rows
            if self._n_waiting[number] >= _GROUP_ROWS:
                self._write(number)
        while self._n_waiting.total() > _BUFFERED_ROWS:
            self._write(self._n_waiting.most_common(1)[0][0])
        return numbers

    def _write(self, number: int) -> None:
        writer = self._open.get(number)
        if writer is None:
            if len(self._open) >= _OPEN_FILES:
                self._close(next(iter(self._open)))
            day = self.days[number]
            path = self._folder / f"day={day.name}" / f"part-{len(day.files)}.parquet"
            writer = self._open[number] = _PartWriter(path)
        self._open.move_to_end(number)
        writer.write(self._waiting.pop(number))
        del self._n_waiting[number]

    def _close(self, number: int) -> None:
        writer = self._open.pop(number)
        writer.close()
        self.days[number].files.append((writer.path, writer.n_rows))

    def flush(self) -> None:
        """Write what waits and close every file."""
        for number in list(self._waiting):
            self._write(number)
        for number in list(self._open):
            self._close(number)

    def abandon(self) -> None:
        """Close every file without caring what is in it."""
        for writer in self._open.values():
            with suppress(OSError):  # on a full disk the write before has said so
                writer.close()

    def rewrite(self, number: int, *, drop: np.ndarray | None) -> None:
        """Write a day anew in order of time (rows of one moment as they came), without the rows of `drop`."""
        old = self.days[number]
        new = Day(number)
        path = self._folder / f"day={old.name}" / f"part-{len(old.files)}.parquet"
        writer = _PartWriter(path)
        for table in self._in_order(old, drop):
            batch = table.unify_dictionaries().combine_chunks().to_batches()[0]
            ticks = ticks_of(batch.column(self._time))
            new.count(
                ticks, batch.column(self._label).to_numpy(zero_copy_only=False), hash_rows(batch)
            )
            writer.write([batch])
        writer.close()
        for file, _ in old.files:
            file.unlink()
        if new.n_rows:
            new.files = [(path, new.n_rows)]
            self.days[number] = new
        else:
            path.unlink(missing_ok=True)
            path.parent.rmdir()
            del self.days[number]

    def _in_order(self, day: Day, drop: np.ndarray | None) -> Iterator[pa.Table]:
        """Yield a day's rows in order, about a million at a time, reading the day once for each."""
        if day.in_order:
            bounds = [(day.first_tick, day.last_tick + 1)]
        else:
            n_parts = -(-day.n_rows // _SORT_ROWS)
            ticks = np.concatenate(
                [ticks_of(batch.column(self._time)) for batch, _ in self._groups(day, [self._time])]
            )
            shares = np.linspace(0, 1, n_parts + 1)[1:-1]
            inner = np.unique(np.quantile(ticks, shares, method="nearest")).tolist()
            edges = [tick for tick in inner if tick > day.first_tick]
            bounds = list(pairwise([day.first_tick, *edges, day.last_tick + 1]))
        for low, high in bounds:
            chosen = []
            for batch, first in self._groups(day, None):
                ticks = ticks_of(batch.column(self._time))
                keep = (ticks >= low) & (ticks < high)
                if drop is not None:
                    keep &= ~drop[first : first + batch.num_rows]
                if not keep.any():
                    continue
                part = batch if keep.all() else batch.filter(pa.array(keep))
                if day.in_order:
                    yield pa.Table.from_batches([part])
                else:
                    chosen.append(part)
            if chosen:
                table = pa.Table.from_batches(chosen)
                order = np.argsort(
                    ticks_of(table.column(self._time).combine_chunks()), kind="stable"
                )
                yield table.unify_dictionaries().take(pa.array(order))

    @staticmethod
    def _groups(day: Day, columns: list[str] | None) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Yield a day's row groups as they came, each with the number of its first row."""
        first = 0
        for path, _ in day.files:
            with pq.ParquetFile(path) as file:
                for group in range(file.metadata.num_row_groups):
                    (batch,) = (
                        file.read_row_group(group, columns=columns).combine_chunks().to_batches()
                    )
                    yield batch, first
                    first += batch.num_rows

    def column(self, number: int, name: str) -> Iterator[tuple[pa.Array, int]]:
        """Yield one column of a day in pieces, as it came, each with the number of its first row."""
        for batch, first in self._groups(self.days[number], [name]):
            yield batch.column(name), first

    def rows(self, number: int, mask: np.ndarray) -> Iterator[pa.RecordBatch]:
        """Yield those rows of a day, as they came."""
        for batch, first in self._groups(self.days[number], None):
            part = mask[first : first + batch.num_rows]
            if part.any():
                yield batch.filter(pa.array(part))


class _PartWriter:
    """One Parquet file; each write is a row group."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.n_rows = 0
        self._writer: pq.ParquetWriter | None = None

    def write(self, batches: list[pa.RecordBatch]) -> None:
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
        if self._writer is not None:
            self._writer.close()


def _compact(column: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return dictionary codes without the values that no row has."""
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
