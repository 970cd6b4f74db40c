"""The click probability of every row of a file, in the file's order: any log that the pipeline reads, with or without clicks."""

import gzip
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tasks.errors import ConfigError, InputError
from tasks.hashing.encode import encode_batch
from tasks.logs.intake.canonical import Canonicalizer, CanonicalRows
from tasks.logs.intake.csv_block import RawRows
from tasks.logs.intake.quarantine import Quarantine, is_hopeless
from tasks.logs.intake.readers import read_source
from tasks.logs.intake.values import texts
from tasks.models.artifact import ScoringModel
from tasks.schema import Schema
from tasks.schemas.forms import LabelForm
from tasks.storage.files import open_atomic

BATCH_ROWS = 65_536
BLOCK_BYTES = 8 << 20
ROW = "row"  # the column of row numbers, where the file has no id
P_CLICK = "p_click"
_FORMS = (".csv", ".csv.gz", ".parquet")


@dataclass
class FileScores:
    """What came of a file.

    Attributes
    ----------
    out
        The file of probabilities.
    n_rows, n_rejected
        Rows with a probability; rows that have none, because a value cannot be read.
    rejected
        The file of those rows with their reasons; None if there are none.
    mean
        Of the probabilities, in [0, 1]; NaN without rows.
    notes
        What was ignored.
    """

    out: Path
    n_rows: int = 0
    n_rejected: int = 0
    rejected: Path | None = None
    mean: float = float("nan")
    notes: list[str] = field(default_factory=list)


class _Sink(Protocol):
    def write(self, table: pa.RecordBatch) -> None: ...


def score_file(
    model: ScoringModel,
    source: str,
    out: str | Path,
    *,
    schema: Schema,
    kaggle: bool = False,
    max_bad_share: float = 0.01,
    batch_rows: int = BATCH_ROWS,
    block_bytes: int = BLOCK_BYTES,
    on_progress: Callable[[int], None] | None = None,
) -> FileScores:
    """Write the click probability of each row of a source, and return what came of it.

    Rows are read, hashed and scored batch by batch, so memory does not grow with the file. A probability is that of the
    service for the same values.

    Parameters
    ----------
    model
        What scores; its hash contract says what it reads.
    source
        As :func:`tasks.ingest.ingest_log` reads it; its label may be missing, and so may its id.
    out
        ``.csv``, ``.csv.gz`` or ``.parquet``: the id (or ``row``, from 1) and ``p_click``. It appears whole, or not at all.
    schema
        How the source is written.
    kaggle
        Name the probability like the label, as Kaggle's sample submissions do.
    max_bad_share
        Share of rows without a probability, in [0, 1], above which nothing is written.
    batch_rows, block_bytes
        Rows of Parquet and bytes of text at a time.
    on_progress
        Called with the number of rows read so far.

    Raises
    ------
    ConfigError
        If `out` is none of these files, or the source itself.
    InputError
        If the source cannot be read, lacks a column, holds no rows or too many bad ones.
    """
    out = Path(out)
    _check_out(out, source)
    found = FileScores(out)
    rejected = out.with_name(f"{out.name}.rejected.parquet")
    rejected.parent.mkdir(parents=True, exist_ok=True)
    total = 0.0
    with (
        _quarantine(rejected) as quarantine,
        open_atomic(out) as handle,
        _sink(handle, out.name) as sink,
    ):
        batches = _scored(model, source, schema, found, batch_rows, block_bytes)
        for rows, ids, p_click in batches:
            first = found.n_rows + found.n_rejected + 1
            quarantine.add(rows.bad)
            found.n_rows += len(p_click)
            found.n_rejected = quarantine.n_rows
            total += float(p_click.sum())
            named = schema.label if kaggle else P_CLICK
            if len(p_click):
                key = ROW if ids is None else str(schema.id)
                if ids is None:
                    ids = _places(rows, first)
                columns = [ids, pa.array(p_click)]
                sink.write(pa.RecordBatch.from_arrays(columns, names=[key, named]))
            n_read = found.n_rows + found.n_rejected
            if on_progress:
                on_progress(n_read)
            if is_hopeless(found.n_rejected, n_read, max_bad_share):
                break
        _check_share(found, quarantine, source, max_bad_share)
    if found.n_rejected:
        found.rejected = rejected
    found.mean = total / found.n_rows
    return found


def _check_out(out: Path, source: str) -> None:
    if not out.name.endswith(_FORMS) or out.name in _FORMS:
        raise ConfigError(f"OUT={out}: name a file that ends in {', '.join(_FORMS)}")
    if out.is_dir():
        raise ConfigError(f"OUT={out} is a folder; name a file")
    if Path(source).exists() and Path(source).resolve() in (out.resolve(), *out.resolve().parents):
        if Path(source).resolve() == out.resolve():
            raise ConfigError(f"OUT={out} is what would be read; name another file")
        raise ConfigError(f"OUT={out} lies in the folder that would be read; name another place")


@contextmanager
def _quarantine(path: Path) -> Iterator[Quarantine]:
    """Yield a quarantine whose file is kept only if it holds rows and nothing failed."""
    quarantine, kept = Quarantine(path), False
    try:
        yield quarantine
        quarantine.close()
        kept = quarantine.n_rows > 0
    finally:
        if not kept:
            quarantine.close()
            path.unlink(missing_ok=True)


def _scored(
    model: ScoringModel,
    source: str,
    schema: Schema,
    found: FileScores,
    batch_rows: int,
    block_bytes: int,
) -> Iterator[tuple[CanonicalRows, pa.Array | None, np.ndarray]]:
    """Yield batches: good and bad rows, the ids of the good ones, and their probabilities."""
    # of all columns only the truth may be missing from a file; the id takes its place, and the label has none
    unlabelled = replace(schema, label_form=LabelForm(""), weight=None, id=None, truth=schema.id)
    canonical = Canonicalizer(unlabelled, has_truth=False)
    known = {schema.label, schema.truth, schema.weight, schema.label_form.impressions}

    def note(text: str) -> None:
        head, mark, names = text.partition("were ignored: ")
        left = [name for name in names.split(", ") if name not in known]
        if not mark or left:
            found.notes.append(f"{head}{mark}{', '.join(left)}" if mark else text)

    read = read_source(
        source, unlabelled, note=note, batch_rows=batch_rows, block_bytes=block_bytes
    )
    with closing(read) as batches:
        for raw in batches:
            rows = canonical(raw)
            p_click = np.empty(0)
            if rows.batch.num_rows:
                p_click = model.predict_codes(encode_batch(rows.batch, model.contract))
            yield rows, _ids(schema, raw, rows), p_click


def _ids(schema: Schema, raw: RawRows, rows: CanonicalRows) -> pa.Array | None:
    """Return the ids of the good rows as text; None if the file has none."""
    if schema.id is None or schema.id not in raw.columns:
        return None
    ids = texts(raw.columns[schema.id], schema.id, raw.file)
    return ids.take(pa.array(np.searchsorted(raw.numbers, rows.numbers)))


def _places(rows: CanonicalRows, first: int) -> pa.Array:
    """Return the numbers of the good rows among all rows of the source, of which `first` is the batch's first."""
    bad = np.array([row.row for row in rows.bad], dtype=np.int64)
    everyone = np.sort(np.concatenate([rows.numbers, bad]))
    return pa.array(first + np.searchsorted(everyone, rows.numbers))


def _check_share(found: FileScores, quarantine: Quarantine, source: str, most: float) -> None:
    n_read = found.n_rows + found.n_rejected
    if not found.n_rows and not found.n_rejected:
        raise InputError(f"{source}: there are no rows to score")
    if found.n_rejected > most * n_read or not found.n_rows:
        reason, _ = quarantine.reasons.most_common(1)[0]
        raise InputError(
            f"{source}: {found.n_rejected:,} of {n_read:,} rows cannot be scored, most often because {reason}; "
            f"the limit is {most:.0%} (`ingest.max_bad_share`); nothing was written"
        )


@contextmanager
def _sink(handle: BinaryIO, name: str) -> Iterator[_Sink]:
    """Yield what writes batches to a file, in the form that its name says."""
    if name.endswith(".parquet"):
        with closing(_ParquetSink(handle)) as sink:
            yield sink
    elif name.endswith(".gz"):
        with gzip.GzipFile(fileobj=handle, mode="wb", compresslevel=1, mtime=0) as packed:
            yield _CsvSink(packed)
    else:
        yield _CsvSink(handle)


class _ParquetSink:
    """Writes batches as row groups."""

    def __init__(self, handle: BinaryIO):
        self._handle = handle
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.RecordBatch) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._handle, table.schema, compression="zstd")
        self._writer.write_batch(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _CsvSink:
    """Writes batches as lines; only texts that need quotes get them."""

    def __init__(self, handle: Any):
        self._handle, self._is_first = handle, True

    def write(self, table: pa.RecordBatch) -> None:
        if self._is_first:
            self._handle.write((",".join(table.schema.names) + "\n").encode())
            self._is_first = False
        try:
            self._lines(table, "none")
        except pa.ArrowInvalid:  # a text holds a comma, a quote or a line break
            self._lines(table, "needed")

    def _lines(self, table: pa.RecordBatch, quoting: str) -> None:
        sink = pa.BufferOutputStream()
        options = pa_csv.WriteOptions(include_header=False, quoting_style=quoting)
        pa_csv.write_csv(table, sink, options)
        self._handle.write(sink.getvalue())
