"""The pieces of a source to one log: joined in order, strays and duplicates taken out, each day in order of time.

The steps that take time are functions of files (:func:`~tasks.logs.intake.reading.read_piece`,
:func:`~tasks.logs.intake.duplicates.find_duplicates`, :func:`~tasks.logs.intake.day_order.finish_day`), called
by whatever `run` is: this process, or workers of a cluster.
"""

import hashlib
import json
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tasks.errors import InputError
from tasks.logs.intake.day_files import Day
from tasks.logs.intake.day_order import Dropped, FinishedDay, finish_day
from tasks.logs.intake.duplicates import find_duplicates, number_of_shares, records_of_days
from tasks.logs.intake.pieces import Piece
from tasks.logs.intake.quarantine import QUARANTINE, Quarantine, is_hopeless
from tasks.logs.intake.readers import Fit
from tasks.logs.intake.reading import FILE_BITS, PieceRows, add_note
from tasks.logs.intake.times import stray_days
from tasks.logs.log import DUPLICATE, FORMAT, arrow_schema
from tasks.schema import Schema

STRAY = "time is far from that of the other rows"

Run = Callable[[Callable[..., Any], Iterable[tuple[Any, ...]]], Generator[Any, None, None]]
"""Calls a function with each of some arguments and yields the results in order."""


class Refused(Exception):
    """Too many bad rows."""


class Assembly:
    """The log of one source while it is made.

    Parameters
    ----------
    source, schema, max_bad_share
        As for :func:`tasks.ingest.ingest_log`.
    work, scratch
        The folder that becomes the log, and one on the same disk for what is not complete.
    run
        Calls functions of files, here or elsewhere.
    """

    def __init__(
        self, source: str, schema: Schema, max_bad_share: float, work: Path, scratch: Path, run: Run
    ):
        self._source, self._schema, self.max_bad_share = source, schema, max_bad_share
        self._work, self._scratch, self._run = work, scratch, run
        self.notes: list[str] = []
        self.quarantine = Quarantine(work / QUARANTINE)
        self.n_rows_in = self._n_split = self._n_raw = 0
        self._stopped = self._has_truth = False
        self._fit = Fit()
        self._files: list[str] = []
        self._stripped: dict[str, None] = {}
        self._pieces: list[PieceRows] = []
        self._first_files: list[int] = []  # of each piece, the place of its first file
        self._lines_before: list[int] = []  # of each piece, in its first file
        self._days: dict[int, Day] = {}
        self._rows_before: dict[tuple[int, int], int] = {}  # of a piece and day, in earlier pieces

    def note(self, text: str) -> None:
        """Add a note, once."""
        add_note(self.notes, text)

    def take(self, piece: Piece, rows: PieceRows) -> None:
        """Add the next piece.

        Raises
        ------
        InputError
            What ended its reading.
        Refused
            If so many rows are bad that the rest does not matter.
        """
        goes_on = piece.span is not None and piece.span[0] > 0
        n_lines = self._lines_before[-1] + self._pieces[-1].n_lines if goes_on else 0
        n_bad, n_in = self.quarantine.n_rows, self.n_rows_in
        for n_read, n_found in rows.history:
            if is_hopeless(n_bad + n_found, n_in + n_read, self.max_bad_share):
                self.quarantine.add_file(rows.quarantine, n_rows=n_found, n_lines=n_lines)
                self.n_rows_in, self._stopped = n_in + n_read, True
                raise Refused
        for sentence in rows.notes:
            self.note(sentence)
        if rows.error:
            raise rows.error
        self.quarantine.add_file(rows.quarantine, n_lines=n_lines)
        shift = 0 if self._schema.has_time else self._n_raw
        for number, day in rows.days.items():
            whole = self._days.setdefault(number, Day(number, content=None))
            self._rows_before[len(self._pieces), number] = whole.n_rows
            whole.join(day, shift)
        again = bool(rows.files and self._files) and self._files[-1] == rows.files[0]
        self._first_files.append(len(self._files) - again)
        self._files += rows.files[again:]
        self._lines_before.append(n_lines)
        self._has_truth |= rows.has_truth
        self._stripped |= dict.fromkeys(rows.stripped)
        self.n_rows_in += rows.n_rows_in
        self._n_split += rows.n_split
        self._n_raw += rows.n_raw
        self._fit.join(rows.fit)
        self._pieces.append(rows)

    def finish(self) -> None:
        """Take out strays and duplicates, put each day in order, and check the whole.

        Raises
        ------
        InputError
            If there are no rows, too few, or one class.
        Refused
            If too many rows are bad.
        """
        self._fit.check(self._source, self.note)
        if self._stripped:
            self.note(
                f"blanks around values were taken off ({', '.join(self._stripped)}); `keep_spaces: true` in the schema keeps them"
            )
        if unordered := sum(not day.in_order for day in self._days.values()):
            self.note(
                f"rows of {unordered} day{'s' * (unordered > 1)} did not come in order of time and were sorted"
            )
        if not self.n_rows_in:
            raise InputError(f"{self._source}: a header but no rows; is the export complete?")
        strays = stray_days({number: day.n_rows for number, day in self._days.items()})
        dropped = self._strays(strays) | self._duplicates(strays)
        self._finish_days(dropped)
        self._check()

    def _strays(self, days: Sequence[int]) -> dict[int, Dropped]:
        """Return the rows whose time is far from that of nearly all others (:func:`stray_days`), all of their days."""
        if not days:
            return {}
        arguments = [([piece.records], days) for piece in self._pieces]
        records = np.concatenate(list(self._run(records_of_days, arguments)))
        return self._dropped(records, STRAY, self._schema.time_column, days)

    def _duplicates(self, strays: Sequence[int]) -> dict[int, Dropped]:
        """Return the rows that repeat an earlier id; the first one stays."""
        if not self._schema.id:
            return {}
        n_shares = number_of_shares(sum(day.n_rows for day in self._days.values()))
        paths = [piece.records for piece in self._pieces]
        arguments = [(paths, number, n_shares, strays) for number in range(n_shares)]
        records = np.concatenate(list(self._run(find_duplicates, arguments)))
        days = np.unique(records["day"]).tolist()
        return self._dropped(records, DUPLICATE, self._schema.id, days)

    def _dropped(
        self, records: np.ndarray, reason: str, column: str, days: Sequence[int]
    ) -> dict[int, Dropped]:
        """Return records by day, with the rows of their days and places in the source."""
        found = {}
        for number in days:
            mine = records[records["day"] == number]
            pieces, inverse = np.unique(mine["piece"], return_inverse=True)
            before = [
                (
                    self._rows_before[piece, number],
                    self._first_files[piece],
                    self._lines_before[piece],
                )
                for piece in pieces.tolist()
            ]
            rows, files, lines = np.array(before, dtype=np.int64)[inverse].T
            rows = rows + mine["rank"]
            order = np.argsort(rows)
            files = files + (mine["place"] >> FILE_BITS)
            lines = lines + (mine["place"] & ((1 << FILE_BITS) - 1))
            used, codes = np.unique(files[order], return_inverse=True)
            names = [self._files[file] for file in used.tolist()]
            found[number] = Dropped(rows[order], codes, lines[order], names, reason, column)
        return found

    def _finish_days(self, dropped: dict[int, Dropped]) -> None:
        """Write the days that are not yet as they should be; the others are moved. Dropped rows go to quarantine."""
        others = [day for day in self._days.values() if day.number not in dropped]
        for day in [day for day in others if day.is_final]:
            target = self._work / day.file
            target.parent.mkdir(parents=True, exist_ok=True)
            day.runs[0].path.replace(target)
        todo = [self._days[number] for number in dropped]
        todo += [day for day in others if not day.is_final]
        arguments = [
            (day, self._schema, dropped.get(day.number), self._work, self._scratch) for day in todo
        ]
        with closing(self._run(finish_day, arguments)) as results:
            for old, done in zip(todo, results, strict=True):
                self._accept(old, done)

    def _accept(self, old: Day, done: FinishedDay) -> None:
        if done.quarantine:
            self.quarantine.add_file(done.quarantine)
            done.quarantine.unlink()
        for run in old.runs:
            run.path.unlink()
        if done.day.n_rows:
            self._days[old.number] = done.day
        else:
            del self._days[old.number]

    def _check(self) -> None:
        """Refuse a log with too many bad rows, too few rows, or one class."""
        n_all = self.n_rows_in + self._n_split
        if self.quarantine.n_rows > self.max_bad_share * n_all:
            raise Refused
        n_rows = sum(day.n_rows for day in self._days.values())
        n_clicks = sum(day.n_clicks for day in self._days.values())
        if n_all != n_rows + self.quarantine.n_rows:
            raise RuntimeError(
                f"{n_all} rows came in, but {n_rows} + {self.quarantine.n_rows} are accounted for"
            )
        if n_rows < 2:
            raise InputError(
                f"{self._source}: {n_rows} usable row{'s' * (n_rows != 1)}; a log needs two or more, is the export complete?"
            )
        if n_clicks in (0, n_rows):
            raise InputError(
                f"{self._source}: one class only: {self._schema.label!r} is {int(n_clicks > 0)} in all {n_rows:,} rows, so nothing can be learned; check the label column and the export"
            )

    def refusal(self, kept_at: Path) -> InputError:
        """Return why the log is refused."""
        return self.quarantine.refusal(
            self._source,
            n_rows_in=self.n_rows_in,
            max_bad_share=self.max_bad_share,
            kept_at=kept_at,
            stopped=self._stopped,
        )

    def manifest(self, mark: str) -> dict[str, Any]:
        """Return what is known about the finished log."""
        schema = self._schema
        days = [self._days[number] for number in sorted(self._days)]
        columns = arrow_schema(schema, has_truth=self._has_truth).names
        content = hashlib.sha256(json.dumps(columns).encode())
        for day in days:
            content.update(f"{day.name} {day.n_rows} {day.digest}".encode())
        weights = {
            "weight": sum(day.weight for day in days),
            "weight_clicks": sum(day.weight_clicks for day in days),
        }
        return {
            "format": FORMAT,
            "source": self._source,
            "fingerprint": mark,
            "schema": schema.name,
            "schema_digest": schema.digest,
            "columns": columns,
            "has_truth": self._has_truth,
            "n_rows_in": self.n_rows_in,
            "n_rows": sum(day.n_rows for day in days),
            "n_quarantined": self.quarantine.n_rows,
            "n_clicks": sum(day.n_clicks for day in days),
            **(weights if schema.weight_column else {}),
            "has_time": schema.has_time,
            "quarantine": dict(self.quarantine.reasons.most_common()),
            "time_min": _iso(days[0].first_tick),
            "time_max": _iso(days[-1].last_tick),
            "digest": content.hexdigest()[:32],
            "notes": self.notes,
            "days": [
                {
                    "day": day.name,
                    "n_rows": day.n_rows,
                    "n_clicks": day.n_clicks,
                    "files": [{"path": str(day.file), "n_rows": day.n_rows}],
                }
                for day in days
            ],
            "hours": {
                str(np.datetime64(hour, "h")): day.hours[hour]
                for day in days
                for hour in sorted(day.hours)
            },
        }


def _iso(tick: int) -> str:
    return (
        datetime.fromtimestamp(tick // 1_000_000, UTC)
        .replace(microsecond=tick % 1_000_000)
        .isoformat()
    )
