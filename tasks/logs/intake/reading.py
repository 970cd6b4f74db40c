"""One pass over a source: rows to day files and quarantine, duplicates removed, days sorted, everything counted."""

import hashlib
import json
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.errors import InputError
from tasks.logs.intake.canonical import Canonicalizer, CanonicalRows
from tasks.logs.intake.csv_block import RawRows
from tasks.logs.intake.day_files import DayFiles
from tasks.logs.intake.duplicates import Column, find_candidates, later_ones
from tasks.logs.intake.quarantine import QUARANTINE, Quarantine
from tasks.logs.intake.readers import is_float_notation, read_source
from tasks.logs.intake.row_hash import hash_texts
from tasks.logs.intake.times import stray_days
from tasks.logs.log import DUPLICATE, FORMAT, arrow_schema
from tasks.schema import Schema

STRAY = "time is far from that of the other rows"
_ROW_BITS = 40


class Refused(Exception):
    """Too many bad rows."""


@dataclass
class Intake:
    """One pass over a source."""

    source: str
    schema: Schema
    work: Path
    max_bad_share: float
    n_rows_in: int = 0
    stopped: bool = False
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.has_truth = False
        self.quarantine = Quarantine(self.work / QUARANTINE)
        self.n_split = (
            0  # rows that counts added: clicks and other impressions are rows of their own
        )
        self.days = DayFiles(
            self.work,
            label=self.schema.label,
            time=self.schema.time_column,
            weight=self.schema.weight_column,
        )
        self._keys = Column(self.work / "keys.bin", "u8")
        self._places = Column(self.work / "places.bin", "i8")
        self._day_numbers = Column(self.work / "days.bin", "i4")

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def read(
        self, batch_rows: int, block_bytes: int, on_progress: Callable[[int], None] | None
    ) -> None:
        """Read everything; bad rows to quarantine, good ones to the file of their day."""
        found = read_source(
            self.source, self.schema, note=self.note, batch_rows=batch_rows, block_bytes=block_bytes
        )
        canonical: Canonicalizer | None = None
        with closing(found):
            for raw in found:
                if canonical is None:
                    self.has_truth = self.schema.truth in raw.columns
                    canonical = Canonicalizer(self.schema, has_truth=self.has_truth)
                if not self.files or self.files[-1] != raw.file:
                    self.files.append(raw.file)
                for sentence in raw.notes:
                    self.note(sentence)
                self._take(raw, canonical(raw))
                if on_progress:
                    on_progress(self.n_rows_in)
                if self.quarantine.is_hopeless(self.n_rows_in, self.max_bad_share):
                    self.stopped = True
                    raise Refused
        self.days.flush()
        if canonical and canonical.stripped:
            self.note(
                f"blanks around values were taken off ({', '.join(canonical.stripped)}); `keep_spaces: true` in the schema keeps them"
            )
        if unordered := sum(not day.in_order for day in self.days.days.values()):
            self.note(
                f"rows of {unordered} day{'s' * (unordered > 1)} did not come in order of time and were sorted"
            )
        if not self.n_rows_in:
            raise InputError(f"{self.source}: a header but no rows; is the export complete?")

    def _take(self, raw: RawRows, rows: CanonicalRows) -> None:
        self.n_rows_in += len(raw.numbers) + len(raw.bad)
        self.quarantine.add(rows.bad)
        self.n_split += rows.batch.num_rows - rows.n_good
        if not rows.batch.num_rows:
            return
        keys = None
        if self.schema.id:
            ids = rows.batch.column(self.schema.id)
            keys = hash_texts(ids)
            if self.schema.label_form.impressions:  # two rows of one id are no duplicates
                labels = rows.batch.column(self.schema.label).to_numpy(zero_copy_only=False)
                keys = keys ^ labels.astype(np.uint64)
            self._note_damaged(ids.slice(0, 100).to_pylist())
        numbers = self.days.add(rows.batch, keys=keys)
        if keys is not None:
            self._keys.append(keys)
        self._places.append(rows.numbers + ((len(self.files) - 1) << _ROW_BITS))
        self._day_numbers.append(numbers)

    def _note_damaged(self, ids: list[str]) -> None:
        if damaged := is_float_notation(ids):
            if any(note.startswith("ids are damaged") for note in self.notes):
                return
            self.note(
                f"ids are damaged: {damaged[0]} is a number in float notation, its last digits are lost; "
                "ids are taken as text, and count as duplicates if the texts are equal"
            )

    def remove_duplicates(self) -> None:
        """Move rows that repeat an earlier id to quarantine; the first one stays."""
        if not self.schema.id:
            return
        candidates = find_candidates(self._keys.chunks, self._keys.size)
        if not candidates.size:
            return
        days_of = self._day_numbers.take(candidates)
        left = np.isin(days_of, list(self.days.days))  # strays are gone
        candidates, days_of = candidates[left], days_of[left]
        rows_of = self._day_numbers.ranks(candidates)
        second = np.zeros(candidates.size, dtype=np.uint64)
        for number in np.unique(days_of).tolist():
            mine = np.flatnonzero(days_of == number)
            rows = rows_of[mine]
            for texts, first in self.days.column(number, self.schema.id):
                inside = (rows >= first) & (rows < first + len(texts))
                chosen = texts.take(pa.array(rows[inside] - first))
                second[mine[inside]] = hash_texts(chosen, seed=1)
        later = later_ones(self._keys.take(candidates), second)
        places = self._places.take(candidates)
        for number in np.unique(days_of[later]).tolist():
            mine = later & (days_of == number)
            self._remove(number, rows_of[mine], places[mine], DUPLICATE, str(self.schema.id))

    def remove_strays(self) -> None:
        """Move rows whose time is far from that of nearly all others to quarantine (:func:`stray_days`)."""
        counts = {number: day.n_rows for number, day in self.days.days.items()}
        for number in stray_days(counts):
            rows = np.flatnonzero(self._day_numbers.equal(number))
            places = self._places.take(rows)
            ranks = np.arange(rows.size)
            self._remove(number, ranks, places, STRAY, self.schema.time_column)

    def _remove(
        self, number: int, rows: np.ndarray, places: np.ndarray, reason: str, column: str
    ) -> None:
        drop = np.zeros(self.days.days[number].n_rows, dtype=bool)
        drop[rows] = True
        names, done = pa.array(self.files), 0
        for batch in self.days.rows(number, drop):
            part = places[done : done + batch.num_rows]
            done += batch.num_rows
            self.quarantine.add_batch(
                batch,
                files=names.take(pa.array(part >> _ROW_BITS)),
                rows=part & ((1 << _ROW_BITS) - 1),
                reason=reason,
                column=column,
            )
        self.days.rewrite(number, drop=drop)

    def check(self) -> None:
        """Refuse a log with too many bad rows, too few rows, or one class."""
        if self.quarantine.n_rows > self.max_bad_share * (self.n_rows_in + self.n_split):
            raise Refused
        n_rows, n_clicks = self.n_rows, self.n_clicks
        if self.n_rows_in + self.n_split != n_rows + self.quarantine.n_rows:
            raise RuntimeError(
                f"{self.n_rows_in} rows came in, but {n_rows} + {self.quarantine.n_rows} are accounted for"
            )
        if n_rows < 2:
            raise InputError(
                f"{self.source}: {n_rows} usable row{'s' * (n_rows != 1)}; a log needs two or more, is the export complete?"
            )
        if n_clicks in (0, n_rows):
            raise InputError(
                f"{self.source}: one class only: {self.schema.label!r} is {int(n_clicks > 0)} in all {n_rows:,} rows, so nothing can be learned; check the label column and the export"
            )

    def sort(self) -> None:
        """Sort the days whose rows were not in order of time."""
        for number in [number for number, day in self.days.days.items() if not day.in_order]:
            self.days.rewrite(number, drop=None)

    @property
    def n_rows(self) -> int:
        return sum(day.n_rows for day in self.days.days.values())

    @property
    def n_clicks(self) -> int:
        return sum(day.n_clicks for day in self.days.days.values())

    def refusal(self, kept_at: Path) -> InputError:
        return self.quarantine.refusal(
            self.source,
            n_rows_in=self.n_rows_in,
            max_bad_share=self.max_bad_share,
            kept_at=kept_at,
            stopped=self.stopped,
        )

    def close(self) -> None:
        """Close every file and remove the temporary ones."""
        self.days.abandon()
        for column in (self._keys, self._places, self._day_numbers):
            with suppress(OSError):  # a full disk was already reported by the write before
                column.close()
            column.path.unlink(missing_ok=True)
        self.quarantine.close()

    def manifest(self, mark: str) -> dict[str, Any]:
        days = [self.days.days[number] for number in sorted(self.days.days)]
        columns = arrow_schema(self.schema, has_truth=self.has_truth).names
        content = hashlib.sha256(json.dumps(columns).encode())
        for day in days:
            content.update(f"{day.name} {day.n_rows} {day.content.hexdigest()}".encode())
        weights = {
            "weight": sum(day.weight for day in days),
            "weight_clicks": sum(day.weight_clicks for day in days),
        }
        return {
            "format": FORMAT,
            "source": self.source,
            "fingerprint": mark,
            "schema": self.schema.name,
            "schema_digest": self.schema.digest,
            "columns": columns,
            "has_truth": self.has_truth,
            "n_rows_in": self.n_rows_in,
            "n_rows": self.n_rows,
            "n_quarantined": self.quarantine.n_rows,
            "n_clicks": self.n_clicks,
            **(weights if self.schema.weight_column else {}),
            "has_time": self.schema.has_time,
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
                    "files": [
                        {"path": str(path.relative_to(self.work)), "n_rows": n_rows}
                        for path, n_rows in day.files
                    ],
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
