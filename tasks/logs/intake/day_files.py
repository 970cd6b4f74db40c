"""The Parquet files of a log: rows go to the file of their day, and each day ends up in order of time."""

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.logs.intake.part_writer import PartWriter
from tasks.logs.intake.row_hash import hash_rows
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
    weight: float = 0.0  # impressions that the rows stand for
    weight_clicks: float = 0.0
    hours: Counter[int] = field(default_factory=Counter)
    first_tick: int = 0
    last_tick: int = 0
    in_order: bool = True
    content: Any = field(default_factory=hashlib.sha256)

    @property
    def name(self) -> str:
        """The date, ISO format."""
        return str(np.datetime64(self.number, "D"))

    def count(
        self,
        ticks: np.ndarray,
        labels: np.ndarray,
        hashes: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> None:
        """Count the rows that come next."""
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
        if weights is not None:
            self.weight += float(weights.sum())
            self.weight_clicks += float(weights[labels == 1].sum())
        counts = np.bincount((ticks - self.number * DAY) // HOUR, minlength=24)
        self.hours.update(
            {self.number * 24 + hour: int(counts[hour]) for hour in np.flatnonzero(counts).tolist()}
        )
        self.content.update(np.ascontiguousarray(hashes).data)


class DayFiles:
    """Write rows by day, in any order; :meth:`rewrite` sorts a day and takes duplicates out."""

    def __init__(self, folder: Path, *, label: str, time: str, weight: str | None = None):
        self._folder, self._label, self._time, self._weight = folder, label, time, weight
        self.days: dict[int, Day] = {}
        self._waiting: dict[int, list[pa.RecordBatch]] = {}
        self._n_waiting: Counter[int] = Counter()
        self._open: OrderedDict[int, PartWriter] = OrderedDict()

    def add(self, batch: pa.RecordBatch, *, keys: np.ndarray | None) -> np.ndarray:
        """Add rows and return the day of each, int32; `keys` are the hashes of their ids."""
        counted = self._counted(batch, keys)
        ticks = counted[0]
        numbers = (ticks // DAY).astype(np.int32)
        found = np.unique(numbers)
        for number in found.tolist():
            day = self.days.setdefault(number, Day(number))
            part, chosen = batch, counted
            if found.size > 1:
                rows = np.flatnonzero(numbers == number)
                steady = rows[-1] - rows[0] + 1 == rows.size
                part = batch.slice(rows[0], rows.size) if steady else batch.take(pa.array(rows))
                chosen = [values[rows] for values in counted]
            day.count(*chosen)
            self._waiting.setdefault(number, []).append(part)
            self._n_waiting[number] += part.num_rows
            if self._n_waiting[number] >= _GROUP_ROWS:
                self._write(number)
        while self._n_waiting.total() > _BUFFERED_ROWS:
            self._write(self._n_waiting.most_common(1)[0][0])
        return numbers

    def _counted(self, batch: pa.RecordBatch, keys: np.ndarray | None = None) -> list[np.ndarray]:
        """Return what :meth:`Day.count` takes."""
        names = filter(None, (self._label, self._weight))
        label, *weight = (batch.column(name).to_numpy(zero_copy_only=False) for name in names)
        return [ticks_of(batch.column(self._time)), label, hash_rows(batch, keys=keys), *weight]

    def _write(self, number: int) -> None:
        writer = self._open.get(number)
        if writer is None:
            if len(self._open) >= _OPEN_FILES:
                self._close(next(iter(self._open)))
            day = self.days[number]
            path = self._folder / f"day={day.name}" / f"part-{len(day.files)}.parquet"
            writer = self._open[number] = PartWriter(path)
        self._open.move_to_end(number)
        writer.write(self._waiting.pop(number))
        del self._n_waiting[number]

    def _close(self, number: int) -> None:
        writer = self._open.pop(number)
        writer.close()
        self.days[number].files.append((writer.path, writer.n_rows))

    def flush(self) -> None:
        """Write buffered rows and close every file."""
        for number in list(self._waiting):
            self._write(number)
        for number in list(self._open):
            self._close(number)

    def abandon(self) -> None:
        """Close every file after a failure; what is in them is discarded."""
        for writer in self._open.values():
            with suppress(OSError):  # a full disk was already reported by the write before
                writer.close()

    def rewrite(self, number: int, *, drop: np.ndarray | None) -> None:
        """Rewrite a day in order of time (ties in order of arrival), without the rows of `drop`."""
        old = self.days[number]
        new = Day(number)
        path = self._folder / f"day={old.name}" / f"part-{len(old.files)}.parquet"
        writer = PartWriter(path)
        for table in self._in_order(old, drop):
            batch = table.unify_dictionaries().combine_chunks().to_batches()[0]
            new.count(*self._counted(batch))
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
        """Yield a day's rows in order, about a million at a time; the day is read once per million."""
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
        """Yield a day's row groups in order of arrival, each with the number of its first row."""
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
        """Yield one column of a day in pieces, in order of arrival, each with the number of its first row."""
        for batch, first in self._groups(self.days[number], [name]):
            yield batch.column(name), first

    def rows(self, number: int, mask: np.ndarray) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a day where `mask` is true, in order of arrival."""
        for batch, first in self._groups(self.days[number], None):
            part = mask[first : first + batch.num_rows]
            if part.any():
                yield batch.filter(pa.array(part))
