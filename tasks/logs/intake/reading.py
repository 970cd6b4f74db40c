"""One piece of a source: good rows to the file of their day, bad ones to quarantine, everything counted."""

from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import numpy as np

from tasks.errors import InputError
from tasks.logs.intake.canonical import Canonicalizer, CanonicalRows
from tasks.logs.intake.csv_block import RawRows
from tasks.logs.intake.day_files import Day, DayFiles
from tasks.logs.intake.duplicates import RowRecords
from tasks.logs.intake.pieces import Piece
from tasks.logs.intake.quarantine import QUARANTINE, Quarantine, is_hopeless
from tasks.logs.intake.readers import Fit, Reader, is_float_notation
from tasks.logs.intake.row_hash import hash_texts
from tasks.schema import Schema

FILE_BITS = 40  # a place: the file's number in its piece, and below it the row's number in its file
DAMAGED = "ids are damaged"


class Options(NamedTuple):
    """How rows are read: rows of Parquet and bytes of text per batch, threads, and whether true probabilities are kept (None: as the first rows say)."""

    batch_rows: int
    block_bytes: int
    n_threads: int = 2
    has_truth: bool | None = None
    max_bad_share: float | None = (
        None  # reading stops where it is hopeless; None where only the whole can tell
    )


@dataclass
class PieceRows:
    """What a piece held, and the files in its folder that hold its rows.

    Attributes
    ----------
    history
        After each batch: rows read so far, and bad ones.
    n_split
        Rows that counts added: clicks and other impressions are rows of their own.
    n_raw, n_lines
        Rows that were converted; lines up to the end of a span of a file.
    error
        What ended the reading.
    """

    folder: Path
    has_truth: bool = False
    n_rows_in: int = 0
    n_split: int = 0
    n_raw: int = 0
    n_lines: int = 0
    history: list[tuple[int, int]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stripped: list[str] = field(default_factory=list)
    fit: Fit = field(default_factory=Fit)
    days: dict[int, Day] = field(default_factory=dict)
    error: InputError | None = None

    @property
    def quarantine(self) -> Path:
        """Its bad rows."""
        return self.folder / QUARANTINE

    @property
    def records(self) -> Path:
        """A record of each good row."""
        return self.folder / "rows.bin"


def read_piece(
    piece: Piece,
    schema: Schema,
    scratch: Path,
    options: Options,
    on_progress: Callable[[int], None] | None = None,
) -> PieceRows:
    """Read a piece into a folder of its own below `scratch`, and return what it held.

    An error of the input is returned in it, because rows before it may matter more. `on_progress` is called
    with the number of rows read so far.
    """
    found = PieceRows(scratch / f"piece-{piece.number:06d}-{uuid4().hex[:8]}")
    found.folder.mkdir(parents=True)
    reading = _Reading(piece, schema, options, found)
    try:
        reading.read(on_progress)
    except InputError as error:
        found.error = error
    finally:
        reading.close()
    return found


class _Reading:
    """One pass over a piece."""

    def __init__(self, piece: Piece, schema: Schema, options: Options, found: PieceRows):
        self._piece, self._schema, self._options, self._found = piece, schema, options, found
        self._quarantine = Quarantine(found.quarantine)
        self._days = DayFiles(found.folder, schema, n_threads=options.n_threads)
        self._records = RowRecords(found.records, piece.number)

    def read(self, on_progress: Callable[[int], None] | None) -> None:
        piece, options, found = self._piece, self._options, self._found
        note = partial(add_note, found.notes)
        reader = Reader(
            piece.source, self._schema, note, options.batch_rows, options.block_bytes, options.n_threads
        )  # fmt: skip
        canonical: Canonicalizer | None = None
        with closing(reader.rows(piece.files, piece.span, found.fit)) as rows:
            for raw in rows:
                if canonical is None:
                    known = options.has_truth
                    found.has_truth = self._schema.truth in raw.columns if known is None else known
                    canonical = Canonicalizer(self._schema, has_truth=found.has_truth)
                self._take(raw, canonical(raw))
                if on_progress:
                    on_progress(found.n_rows_in)
                found.history.append((found.n_rows_in, self._quarantine.n_rows))
                if options.max_bad_share is not None and is_hopeless(
                    self._quarantine.n_rows, found.n_rows_in, options.max_bad_share
                ):
                    break
        self._days.flush()
        self._records.end()
        found.days = self._days.days
        found.stripped = list(canonical.stripped) if canonical else []

    def _take(self, raw: RawRows, rows: CanonicalRows) -> None:
        found, schema = self._found, self._schema
        if not found.files or found.files[-1] != raw.file:
            found.files.append(raw.file)
        for sentence in raw.notes:
            add_note(found.notes, sentence)
        found.n_rows_in += len(raw.numbers) + len(raw.bad)
        found.n_raw += len(raw.numbers)
        found.n_lines = raw.n_lines
        self._quarantine.add(rows.bad)
        found.n_split += rows.batch.num_rows - rows.n_good
        if not rows.batch.num_rows:
            return
        hashes = keys = second = None
        if schema.id:
            ids = rows.batch.column(schema.id)
            hashes = keys = hash_texts(ids)
            second = hash_texts(ids, seed=1)
            if schema.label_form.impressions:  # two rows of one id are no duplicates
                labels = rows.batch.column(schema.label).to_numpy(zero_copy_only=False)
                keys = keys ^ labels.astype(np.uint64)
            self._note_damaged(ids.slice(0, 100).to_pylist())
        days, ranks = self._days.add(rows.batch, keys=hashes)
        places = rows.numbers + ((len(found.files) - 1) << FILE_BITS)
        self._records.append(keys=keys, second=second, places=places, ranks=ranks, days=days)

    def _note_damaged(self, ids: list[str]) -> None:
        if damaged := is_float_notation(ids):
            add_note(
                self._found.notes,
                f"{DAMAGED}: {damaged[0]} is a number in float notation, its last digits are lost; "
                "ids are taken as text, and count as duplicates if the texts are equal",
            )

    def close(self) -> None:
        """Close every file."""
        self._days.abandon()
        for file in (self._records, self._quarantine):
            with suppress(OSError):  # a full disk was already reported by the write before
                file.close()


def add_note(notes: list[str], text: str) -> None:
    """Add a sentence that is not there yet; of damaged ids, one example is enough."""
    kind = DAMAGED if text.startswith(DAMAGED) else text
    if not any(note.startswith(kind) if kind == DAMAGED else note == text for note in notes):
        notes.append(text)
