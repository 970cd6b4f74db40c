"""Any source to rows: text or Parquet, packed or in archives, a folder of those, S3, or a simulated log."""

import gzip
import json
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from tasks.logs.sources import list_files
from tasks.schema import Schema

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"


def read_source(
    source: str, schema: Schema, *, note: Note, batch_rows: int, block_bytes: int
) -> Generator[RawRows, None, None]:
    """Yield the rows of every file of the source, in order; `note` is called with what was ignored.

    Raises
    ------
    InputError
        Naming the file, what was found, and what to do.
    """
    if source.startswith("sim://"):
        from tasks.simulation.simulate import parse_uri, simulate_batches

        knobs: dict[str, Any] = dict(parse_uri(source))
        has_truth = schema.truth is not None
        batches = simulate_batches(**knobs, batch_rows=batch_rows, with_truth=has_truth)
        yield from _read_batches(batches, source, schema, note)
        return
    opener = Opener(note, split_member(source)[1])
    unfit: list[WrongColumns] = []
    n_fit = 0
    for file in list_files(source, note):
        with file_errors(file.uri), file.open() as handle:
            for part in opener.parts(handle, file.uri, file.size_bytes):
                try:
                    yield from _read_part(part, schema, note, batch_rows, block_bytes)
                    n_fit += 1
                except WrongColumns as error:
                    unfit.append(error)
    if not n_fit:
        raise (
            unfit[0]
            if unfit
            else InputError(
                f"{source}: the file is empty; expected CSV with a header line, JSON lines or Parquet"
            )
        )
    for left in unfit:
        note(f"left out: {str(left).partition(';')[0]}")


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


def _read_part(
    part: Part, schema: Schema, note: Note, batch_rows: int, block_bytes: int
) -> Iterator[RawRows]:
    partition = _partition_of(part.name, schema)
    if part.is_parquet:
        found = _read_parquet(part.stream, part.name, schema, partition, note, batch_rows)
    elif any(suffix in part.name.lower().rsplit("/", 1)[-1] for suffix in JSON_SUFFIXES):
        found = read_json_lines(
            part.stream,
            part.name,
            schema,
            partition=[*partition],
            note=note,
            block_bytes=block_bytes,
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
            block_bytes=block_bytes,
        )
    for raw in found:
        for name, value in partition.items():
            if name not in raw.columns:
                codes = pa.array(np.zeros(len(raw.numbers), np.int32))
                raw.columns[name] = pa.DictionaryArray.from_arrays(
                    codes, pa.array([value], pa.string())
                )
        yield raw


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
