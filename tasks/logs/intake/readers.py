"""Any source to rows: text or Parquet, packed or in archives, a folder of those, S3, or a simulated log."""

import gzip
import json
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import InputError
from tasks.logs.intake.archives import Opener, Part
from tasks.logs.intake.csv_block import RawRows
from tasks.logs.intake.csv_rows import read_csv
from tasks.logs.intake.headers import Note, WrongColumns, check_columns, find_layout
from tasks.logs.intake.json_lines import read_json_lines
from tasks.logs.origin import split_member
from tasks.logs.sources import SourceFile, list_files
from tasks.schema import Schema

_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass
class Fit:
    """Whether tables were found that have the columns of the schema, and those that have not."""

    n_fit: int = 0
    unfit: list[WrongColumns] = field(default_factory=list)

    def join(self, other: "Fit") -> None:
        """Add what another piece of the source had."""
        self.n_fit += other.n_fit
        self.unfit += other.unfit

    def check(self, source: str, note: Note) -> None:
        """Name what was left out; InputError if nothing fits."""
        if not self.n_fit:
            raise (
                self.unfit[0]
                if self.unfit
                else InputError(
                    f"{source}: the file is empty; expected CSV with a header line, JSON lines or Parquet"
                )
            )
        for left in self.unfit:
            note(f"left out: {str(left).partition(';')[0]}")


@dataclass(frozen=True)
class Reader:
    """Reads tables of a source; `note` is called with what is ignored.

    Parameters
    ----------
    source, schema, note
        What is read, as what, and who is told.
    batch_rows, block_bytes
        Rows of Parquet and bytes of text per batch.
    n_threads
        That parse text beside the caller; with 0 the caller does.
    """

    source: str
    schema: Schema
    note: Note
    batch_rows: int
    block_bytes: int
    n_threads: int = 2

    def rows(
        self, files: Sequence[SourceFile], span: tuple[int, int] | None, fit: Fit
    ) -> Generator[RawRows, None, None]:
        """Yield the rows of files, in order, or of a span of one file; `fit` says afterwards which tables had them.

        Raises
        ------
        InputError
            Naming the file, what was found, and what to do.
        """
        if self.source.startswith("sim://"):
            from tasks.simulation.simulate import parse_uri, simulate_batches

            knobs: dict[str, Any] = dict(parse_uri(self.source))
            has_truth = self.schema.truth is not None
            batches = simulate_batches(**knobs, batch_rows=self.batch_rows, with_truth=has_truth)
            yield from _read_batches(batches, self.source, self.schema, self.note)
            fit.n_fit += 1
            return
        opener = Opener(self.note, split_member(self.source)[1])
        for file in files:
            with file_errors(file.uri), file.open() as handle:
                parts = (
                    opener.parts(handle, file.uri, file.size_bytes)
                    if span is None
                    else [Part(file.uri, handle, is_parquet=False)]
                )
                for part in parts:
                    try:
                        yield from self._part(part, span)
                        fit.n_fit += 1
                    except WrongColumns as error:
                        fit.unfit.append(error)

    def _part(self, part: Part, span: tuple[int, int] | None) -> Iterator[RawRows]:
        schema, note = self.schema, self.note
        partition = _partition_of(part.name, schema)
        if part.is_parquet:
            found = _read_parquet(part.stream, part.name, schema, partition, note, self.batch_rows)
        elif is_json(part.name):
            found = read_json_lines(
                part.stream,
                part.name,
                schema,
                partition=[*partition],
                note=note,
                block_bytes=self.block_bytes,
            )
        else:
            layout = partial(
                find_layout, file=part.name, schema=schema, partition=[*partition], note=note
            )
            found = read_csv(
                part.stream,
                part.name,
                encoding=schema.file.encoding,
                find_layout=layout,
                block_bytes=self.block_bytes,
                n_threads=self.n_threads,
                span=span,
            )
        for raw in found:
            for name, value in partition.items():
                if name not in raw.columns:
                    codes = pa.array(np.zeros(len(raw.numbers), np.int32))
                    raw.columns[name] = pa.DictionaryArray.from_arrays(
                        codes, pa.array([value], pa.string())
                    )
            yield raw


def is_json(name: str) -> bool:
    """Return whether a file of text holds JSON lines, by its name."""
    return any(suffix in name.lower().rsplit("/", 1)[-1] for suffix in _JSON_SUFFIXES)


def read_source(
    source: str, schema: Schema, *, note: Note, batch_rows: int, block_bytes: int
) -> Generator[RawRows, None, None]:
    """Yield the rows of every file of a source, in order; arguments and errors are those of :class:`Reader`."""
    fit = Fit()
    files = [] if source.startswith("sim://") else list_files(source, note)
    yield from Reader(source, schema, note, batch_rows, block_bytes).rows(files, None, fit)
    fit.check(source, note)


@contextmanager
def file_errors(uri: str) -> Iterator[None]:
    """Turn what readers raise about a damaged file into one line."""
    try:
        yield
    except EOFError:
        raise InputError(
            f"{uri}: the gzip stream ends in the middle (a partial file); fetch it again"
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{uri}: the gzip stream is damaged ({error}); fetch it again") from None
    except zipfile.BadZipFile as error:
        raise InputError(
            f"{uri}: the zip archive is damaged or cut short ({error}); fetch it again"
        ) from None
    except (tarfile.TarError, lzma.LZMAError) as error:
        raise InputError(f"{uri}: damaged or cut short ({error}); fetch it again") from None
    except (pa.ArrowException, NotImplementedError, UnicodeError) as error:
        raise InputError(
            f"{uri}: cannot be read ({str(error).splitlines()[0]}); write or fetch it again"
        ) from None
    except OSError as error:
        raise InputError(
            f"{uri}: cannot be read ({' '.join(str(error).split())}); write or fetch it again"
        ) from None


def _partition_of(name: str, schema: Schema) -> dict[str, str | None]:
    """Return the columns that folders named `column=value` give, as far as the schema names them."""
    pairs = [part.partition("=") for part in name.split("/")[:-1]]
    wanted = {*schema.required_columns, schema.truth}
    return {
        unquote(key): None if value == _NO_PARTITION else unquote(value)
        for key, mark, value in pairs
        if mark and unquote(key) in wanted
    }


def _read_parquet(
    handle: BinaryIO,
    uri: str,
    schema: Schema,
    partition: Mapping[str, str | None],
    note: Note,
    batch_rows: int,
) -> Iterator[RawRows]:
    with pq.ParquetFile(handle) as file:
        names = file.schema_arrow.names
        extra = [name for name in partition if name not in names]
        kept = [
            name for name in check_columns([*names, *extra], uri, schema, note) if name in names
        ]
        texts = [
            name
            for name in schema.field_names
            if name in names and _is_string(file.schema_arrow.field(name).type)
        ]
    handle.seek(0)
    with pq.ParquetFile(handle, read_dictionary=texts) as file:
        batches = file.iter_batches(batch_size=batch_rows, columns=kept)
        yield from _read_batches(batches, uri, schema, None)


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _read_batches(
    batches: Iterator[pa.RecordBatch], file: str, schema: Schema, note: Note | None
) -> Iterator[RawRows]:
    """Yield Arrow batches as rows; the text of a row is its JSON. With `note`, their columns are checked first."""
    first, kept = 1, None
    for batch in batches:
        if kept is None:
            names = batch.schema.names
            kept = check_columns(names, file, schema, note) if note else names
        columns = {name: batch.column(name) for name in kept}
        numbers = np.arange(first, first + batch.num_rows)
        first += batch.num_rows

        def text(row: int, columns: dict[str, Any] = columns) -> str:
            return json.dumps(
                {name: column[row].as_py() for name, column in columns.items()}, default=str
            )

        yield RawRows(file, columns, numbers, text)


def is_float_notation(texts: Sequence[str]) -> list[str]:
    """Return those texts that are numbers in float notation, such as 1.0000094181510943e+18."""
    found = []
    for text in texts:
        mantissa, mark, exponent = text.lower().partition("e")
        if mark and exponent.lstrip("+").isdigit() and mantissa.replace(".", "", 1).isdigit():
            found.append(text)
    return found
