"""One day of a log from the files in which its rows came: in order of time, without the rows that are dropped."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.logs.intake.day_files import Day, counted_columns, part_writer
from tasks.logs.intake.quarantine import Quarantine
from tasks.logs.log import TIME, ticks_of
from tasks.schema import Schema

_SORT_ROWS = 1_000_000


class Dropped(NamedTuple):
    """Rows of a day that go to quarantine: which of the day, ascending, where each was read, and why.

    ``rows``, ``files`` (places in ``names``) and ``numbers`` (of the row in its file) are int64, shape ``(n_dropped,)``.
    """

    rows: np.ndarray
    files: np.ndarray
    numbers: np.ndarray
    names: list[str]
    reason: str
    column: str


class FinishedDay(NamedTuple):
    """A day as it is in the log (without files if no row is left), and the quarantine of its dropped rows."""

    day: Day
    quarantine: Path | None


def finish_day(
    day: Day, schema: Schema, dropped: Dropped | None, folder: Path, scratch: Path
) -> FinishedDay:
    """Write a day's file into the log in `folder`, and return what it holds.

    Equal times stay in order of arrival. The files of the day are left as they are, and the new one is renamed
    into place, so that this can be repeated.

    Parameters
    ----------
    day
        With the files in which its rows came, in order of arrival.
    dropped
        Rows to take out.
    folder, scratch
        The log, and a folder on the same disk for what is not complete.
    """
    mask, kept_at = None, None
    if dropped is not None:
        mask = np.zeros(day.n_rows, dtype=bool)
        mask[dropped.rows] = True
        kept_at = _quarantine(day, schema, dropped, mask, scratch)
    new = Day(day.number)
    writer = part_writer(scratch / f"{day.name}-{uuid4().hex}.parquet", schema)
    for table in _in_order(day, schema.time_column, mask):
        batch = table.unify_dictionaries().combine_chunks().to_batches()[0]
        new.count(*counted_columns(batch, schema))
        writer.add(batch)
    writer.end()
    new.seal()
    if new.n_rows:
        target = folder / new.file
        target.parent.mkdir(parents=True, exist_ok=True)
        writer.path.replace(target)
        new.end(writer)
        new.runs = [new.runs[0]._replace(path=target)]
    return FinishedDay(new, kept_at)


def _quarantine(
    day: Day, schema: Schema, dropped: Dropped, mask: np.ndarray, scratch: Path
) -> Path:
    quarantine = Quarantine(scratch / f"{day.name}-{uuid4().hex}-quarantine.parquet")
    names, done = pa.array(dropped.names, pa.string()), 0
    for batch, first in _groups(day, schema.time_column):
        part = mask[first : first + batch.num_rows]
        if not part.any():
            continue
        chosen = batch.filter(pa.array(part))
        span = slice(done, done + chosen.num_rows)
        done += chosen.num_rows
        quarantine.add_batch(
            chosen,
            files=names.take(pa.array(dropped.files[span])),
            rows=dropped.numbers[span],
            reason=dropped.reason,
            column=dropped.column,
        )
    quarantine.close()
    return quarantine.path


def _in_order(day: Day, time: str, drop: np.ndarray | None) -> Iterator[pa.Table]:
    """Yield a day's rows in order, about a million at a time; a group of rows is read once per million that it has rows of."""
    bounds, spans = [(day.first_tick, day.last_tick + 1)], None
    if not day.in_order:
        bounds, spans = _bounds(day, time)
    for low, high in bounds:
        chosen = []
        for batch, first in _groups(day, time, spans=spans, within=(low, high)):
            ticks = ticks_of(batch.column(time))
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
            order = np.argsort(ticks_of(table.column(time).combine_chunks()), kind="stable")
            yield table.unify_dictionaries().take(pa.array(order))


def _bounds(day: Day, time: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return spans of time (end exclusive) of about a million rows each, and first and last time of each group of rows."""
    found = [ticks_of(batch.column(time)) for batch, _ in _groups(day, time, [time])]
    ticks = np.concatenate(found)
    shares = np.linspace(0, 1, -(-day.n_rows // _SORT_ROWS) + 1)[1:-1]
    inner = np.unique(np.quantile(ticks, shares, method="nearest")).tolist()
    edges = [tick for tick in inner if tick > day.first_tick]
    bounds = list(pairwise([day.first_tick, *edges, day.last_tick + 1]))
    return bounds, [(int(group.min()), int(group.max())) for group in found]


def _groups(
    day: Day,
    time: str,
    columns: list[str] | None = None,
    *,
    spans: list[tuple[int, int]] | None = None,
    within: tuple[int, int] = (0, 0),
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Yield a day's row groups in order of arrival, each with the number of its first row.

    With `spans`, first and last time of each group, only those that have rows `within` (end exclusive).
    """
    first = number = 0
    for run in day.runs:
        with pq.ParquetFile(run.path) as file:
            for group in range(file.metadata.num_row_groups):
                n_rows = file.metadata.row_group(group).num_rows
                span = spans[number] if spans else within
                number += 1
                if span[1] >= within[0] and span[0] <= within[1]:
                    table = file.read_row_group(group, columns=columns).combine_chunks()
                    yield _shifted(table.to_batches()[0], time, run.shift), first
                first += n_rows


def _shifted(batch: pa.RecordBatch, time: str, shift: int) -> pa.RecordBatch:
    if not shift:
        return batch
    place = batch.schema.get_field_index(time)
    ticks = pa.array(ticks_of(batch.column(place)) + shift).view(TIME)
    return batch.set_column(place, batch.schema.field(place), ticks)
