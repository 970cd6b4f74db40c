"""Rows to one file per day, in order of arrival, and what is in each day; :mod:`tasks.logs.intake.day_order` makes them final."""

import hashlib
from collections import Counter, OrderedDict, deque
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tasks.logs.intake.part_writer import PartWriter, detached
from tasks.logs.intake.row_hash import hash_rows
from tasks.logs.log import ticks_of
from tasks.schema import Schema

HOUR, DAY = 3_600_000_000, 86_400_000_000
_BUFFERED_ROWS = 2_000_000
_OPEN_FILES = 64
_FEW = 8  # fewer rows than this part of a batch are copied out of it


class Run(NamedTuple):
    """A Parquet file with rows of one day in order of arrival, and what is to be added to their times."""

    path: Path
    n_rows: int
    shift: int = 0  # microseconds; only where the time is a row's number


@dataclass
class Day:
    """One day's rows: the files, and what is in them."""

    number: int  # days since 1970
    runs: list[Run] = field(default_factory=list)
    n_rows: int = 0
    n_clicks: int = 0
    weight: float = 0.0  # impressions that the rows stand for
    weight_clicks: float = 0.0
    hours: Counter[int] = field(default_factory=Counter)
    first_tick: int = 0
    last_tick: int = 0
    in_order: bool = True
    digest: str = ""
    content: Any = field(default_factory=hashlib.sha256)

    @property
    def name(self) -> str:
        """The date, ISO format."""
        return str(np.datetime64(self.number, "D"))

    @property
    def file(self) -> Path:
        """The day's file in a log, relative to it."""
        return Path(f"day={self.name}", "part-0.parquet")

    @property
    def is_final(self) -> bool:
        """Whether the only file is what a log holds."""
        return self.in_order and len(self.runs) == 1 and not self.runs[0].shift

    def count(self, ticks: np.ndarray, labels: np.ndarray, hashes: np.ndarray) -> None:
        """Count the rows that come next."""
        if not ticks.size:
            return
        self.in_order &= bool((ticks[1:] >= ticks[:-1]).all())
        self._span(int(ticks[0]), int(ticks.min()), int(ticks.max()))
        self.n_rows += ticks.size
        self.n_clicks += int(labels.sum())
        counts = np.bincount((ticks - self.number * DAY) // HOUR, minlength=24)
        self.hours.update(
            {self.number * 24 + hour: int(counts[hour]) for hour in np.flatnonzero(counts).tolist()}
        )
        self.content.update(np.ascontiguousarray(hashes).data)

    def _span(self, first: int, low: int, high: int) -> None:
        self.in_order &= not self.n_rows or first >= self.last_tick
        self.first_tick = min(self.first_tick, low) if self.n_rows else low
        self.last_tick = max(self.last_tick, high) if self.n_rows else high

    def join(self, other: "Day", shift: int) -> None:
        """Add the rows of another piece, which came later; its times are `shift` microseconds later than they say."""
        self.in_order &= other.in_order
        low, high = other.first_tick + shift, other.last_tick + shift
        self._span(low, low, high)
        if not self.n_rows:
            self.digest, self.weight = other.digest, other.weight
            self.weight_clicks = other.weight_clicks
        self.n_rows += other.n_rows
        self.n_clicks += other.n_clicks
        self.hours.update(other.hours)
        self.runs += [run._replace(shift=shift) for run in other.runs]

    def end(self, writer: PartWriter) -> None:
        """Note a file that is complete."""
        self.runs.append(Run(writer.path, writer.n_rows))
        self.weigh(writer)

    def weigh(self, writer: PartWriter) -> None:
        """Count the impressions of a file that is complete."""
        self.weight += writer.weight
        self.weight_clicks += writer.weight_clicks

    def seal(self) -> None:
        """Fix the digest, after which nothing is counted."""
        self.digest, self.content = self.content.hexdigest(), None


class DayFiles:
    """Write rows by day, in any order, in bounded memory; a day that comes in order gets the file that a log holds.

    `n_threads` write beside the caller, with 0 the caller does. As long as rows come in order of time, a day is written when
    rows of a later one have come; otherwise at the end, or when too many wait.
    """

    def __init__(self, folder: Path, schema: Schema, *, n_threads: int = 0):
        self._folder, self._schema = folder, schema
        self._pool = ThreadPoolExecutor(n_threads) if n_threads else None
        self._n_ending = 2 * n_threads
        self._ending: deque[tuple[Day, PartWriter]] = deque()
        self._steady, self._latest = (
            True,
            -(1 << 31),
        )  # whether rows come in order of time; the last day
        self.days: dict[int, Day] = {}
        self._writers: OrderedDict[int, PartWriter] = OrderedDict()  # by the last use

    def add(
        self, batch: pa.RecordBatch, *, keys: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Add rows and return the day of each, int32, and which row of its day it is, int64; `keys` are the hashes of their ids."""
        counted = counted_columns(batch, self._schema, keys)
        numbers = (counted[0] // DAY).astype(np.int32)
        ranks = np.empty(numbers.size, dtype=np.int64)
        found = np.unique(numbers)
        for number in found.tolist():
            day = self.days.setdefault(number, Day(number))
            part, chosen, rows = batch, counted, np.arange(numbers.size)
            if found.size > 1:
                rows = np.flatnonzero(numbers == number)
                steady = rows[-1] - rows[0] + 1 == rows.size
                part = batch.slice(rows[0], rows.size) if steady else batch.take(pa.array(rows))
                if rows.size * _FEW < numbers.size:  # they wait for others without all of the batch
                    part = detached(part)
                chosen = [values[rows] for values in counted]
            ranks[rows] = np.arange(day.n_rows, day.n_rows + part.num_rows)
            day.count(*chosen)
            self._write(day, part)
        self._end_earlier(found.tolist())
        return numbers, ranks

    def _end_earlier(self, found: list[int]) -> None:
        """End the days before those that have come, if every row so far came in order of time."""
        self._steady &= found[0] >= self._latest and all(self.days[one].in_order for one in found)
        self._latest = found[-1]
        if self._steady:
            for number in [number for number in self._writers if number < found[0]]:
                self._end(number)

    def _write(self, day: Day, batch: pa.RecordBatch) -> None:
        writer = self._writers.get(day.number)
        if writer is None:
            path = self._folder / day.file.with_stem(f"part-{len(day.runs)}")
            writer = self._writers[day.number] = part_writer(path, self._schema, self._pool)
        self._writers.move_to_end(day.number)
        writer.add(batch)
        opened = [number for number, one in self._writers.items() if one.is_open]
        if len(opened) > _OPEN_FILES:
            self._end(opened[0])
        while sum(one.n_waiting for one in self._writers.values()) > _BUFFERED_ROWS:
            *others, last = self._writers  # the last one may well go on
            self._end(max(others, key=lambda number: self._writers[number].n_waiting, default=last))

    def _end(self, number: int) -> None:
        writer, day = self._writers.pop(number), self.days[number]
        writer.last_group()
        day.runs.append(Run(writer.path, writer.n_rows))
        self._ending.append((day, writer))
        while len(self._ending) > self._n_ending:
            self._finish_oldest()

    def _finish_oldest(self) -> None:
        day, writer = self._ending.popleft()
        writer.end()
        day.weigh(writer)

    def flush(self) -> None:
        """Write buffered rows and close every file."""
        for number in list(self._writers):
            self._end(number)
        while self._ending:
            self._finish_oldest()
        self._stop_threads()
        for day in self.days.values():
            day.seal()

    def abandon(self) -> None:
        """Close every file after a failure; what is in them is discarded."""
        self._stop_threads()
        for writer in [*self._writers.values(), *(one for _, one in self._ending)]:
            with suppress(OSError):  # a full disk was already reported by the write before
                writer.close()

    def _stop_threads(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def part_writer(path: Path, schema: Schema, pool: Executor | None = None) -> PartWriter:
    """Return a writer of rows of the canonical log."""
    return PartWriter(path, label=schema.label, weight=schema.weight_column, pool=pool)


def counted_columns(
    batch: pa.RecordBatch, schema: Schema, keys: np.ndarray | None = None
) -> list[np.ndarray]:
    """Return what :meth:`Day.count` takes: times, labels and hashes of rows; `keys` are the hashes of their ids."""
    label = batch.column(schema.label).to_numpy(zero_copy_only=False)
    return [ticks_of(batch.column(schema.time_column)), label, hash_rows(batch, keys=keys)]
