"""Any source to rows of text: CSV, gz, zip, Parquet, a folder of those, S3, or a simulated log."""

import gzip
import json
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import InputError
from tasks.logs.intake.csv_block import Layout, RawRows
from tasks.logs.intake.csv_rows import read_csv
from tasks.logs.sources import SourceFile, list_files
from tasks.schema import Schema

_GZIP, _ZIP, _PARQUET = b"\x1f\x8b", b"PK", b"PAR1"
_TEXT_SUFFIXES = (".csv", ".txt", ".tsv", ".gz")
_NAMED = {
    ".gz": (_GZIP, "gzip"),
    ".zip": (_ZIP, "a zip archive"),
    ".parquet": (_PARQUET, "Parquet"),
    ".pq": (_PARQUET, "Parquet"),
}

Note = Callable[[str], None]


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
    for file in list_files(source):
        with _file_errors(file.uri):
            yield from _read_file(
                file, schema, note=note, batch_rows=batch_rows, block_bytes=block_bytes
            )


@contextmanager
def _file_errors(uri: str) -> Iterator[None]:
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
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{uri}: cannot be read ({str(error).splitlines()[0]}); write or fetch it again"
        ) from None
    except OSError as error:
        raise InputError(
            f"{uri}: cannot be read ({' '.join(str(error).split())}); write or fetch it again"
        ) from None


def _read_file(
    file: SourceFile, schema: Schema, *, note: Note, batch_rows: int, block_bytes: int
) -> Iterator[RawRows]:
    with file.open() as handle:
        magic = handle.read(4)
        handle.seek(0)
        _check_name(file, magic)
        if magic == _PARQUET:
            yield from _read_parquet(handle, file.uri, schema, note, batch_rows)
            return
        for name, stream in _texts(handle, file.uri, magic):
            yield from read_csv(
                stream,
                name,
                find_layout=partial(_layout, file=name, schema=schema, note=note),
                block_bytes=block_bytes,
            )


def _check_name(file: SourceFile, magic: bytes) -> None:
    if not magic:
        raise InputError(f"{file.uri}: the file is empty; expected CSV with a header line")
    for suffix, (start, kind) in _NAMED.items():
        if file.name.lower().endswith(suffix) and not magic.startswith(start):
            raise InputError(
                f"{file.uri}: not {kind}, whatever its name says (it begins with {magic!r}); fetch it again, or name it .csv if it is one"
            )


def _texts(handle: BinaryIO, uri: str, magic: bytes) -> Iterator[tuple[str, BinaryIO]]:
    """Yield name and stream of each text in a file: the file itself, decompressed, or an archive's members."""
    if magic.startswith(_GZIP):
        yield uri, gzip.GzipFile(fileobj=handle)  # type: ignore[misc]
    elif magic.startswith(_ZIP):
        with zipfile.ZipFile(handle) as archive:
            members = sorted(name for name in archive.namelist() if _is_text(name))
            if not members:
                raise InputError(
                    f"{uri}: no CSV in this archive; it holds {', '.join(archive.namelist()[:5]) or 'nothing'}"
                )
            for member in members:
                if archive.getinfo(member).flag_bits & 1:
                    raise InputError(f"{uri}: {member} is encrypted; unpack it and name the CSV")
                with archive.open(member) as stream:
                    if member.lower().endswith(".gz"):
                        yield f"{uri}/{member}", gzip.GzipFile(fileobj=stream)  # type: ignore[misc]
                    else:
                        yield f"{uri}/{member}", stream  # type: ignore[misc]
    else:
        yield uri, handle


def _is_text(member: str) -> bool:
    hidden = any(part.startswith((".", "_")) for part in member.split("/"))
    return member.lower().endswith(_TEXT_SUFFIXES) and not hidden


def _layout(header: list[str], file: str, schema: Schema, note: Note) -> Layout:
    kept = check_columns(header, file, schema, note)
    plain = frozenset(name for name in (schema.id, schema.truth) if name)
    return Layout(len(header), {name: header.index(name) for name in kept}, plain)


def check_columns(found: Sequence[str], file: str, schema: Schema, note: Note) -> list[str]:
    """Return the columns of a file that the schema names; the others are reported to `note`.

    Raises
    ------
    InputError
        If a column of the schema is missing or occurs twice.
    """
    missing = [name for name in schema.required_columns if name not in found]
    if missing:
        raise InputError(
            f"{file}: {_missing_columns(missing, found)}; rename, or describe this log in a schema file of its own (`schema` in env.yaml, now {schema.name!r})"
        )
    wanted = [
        *schema.required_columns,
        *([schema.truth] if schema.truth and schema.truth in found else []),
    ]
    twice = [name for name in wanted if list(found).count(name) > 1]
    if twice:
        raise InputError(f"{file}: column {twice[0]!r} occurs twice; drop or rename one")
    extra = [name for name in found if name not in wanted]
    if extra:
        note(f"columns that the schema does not name were ignored: {', '.join(extra)}")
    return wanted


def _missing_columns(missing: list[str], found: Sequence[str]) -> str:
    names = ", ".join(repr(name) for name in missing[:5]) + (
        f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    )
    line = f"missing {'column' if len(missing) == 1 else 'columns'} {names}"
    if len(found) == 1:
        for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if mark in found[0]:
                return f"{line}: the header is separated by {name}; save it with commas"
    shown = ", ".join(found[:8]) + (", ..." if len(found) > 8 else "")
    return f"{line}; found {shown[:200]}"


def _read_parquet(
    handle: BinaryIO, uri: str, schema: Schema, note: Note, batch_rows: int
) -> Iterator[RawRows]:
    with pq.ParquetFile(handle) as file:
        kept = check_columns(file.schema_arrow.names, uri, schema, note)
        texts = [
            name for name in schema.field_names if _is_string(file.schema_arrow.field(name).type)
        ]
    handle.seek(0)
    with pq.ParquetFile(handle, read_dictionary=texts) as file:
        batches = file.iter_batches(batch_size=batch_rows, columns=kept)
        yield from _read_batches(batches, uri, schema, lambda _: None)


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _read_batches(
    batches: Iterator[pa.RecordBatch], file: str, schema: Schema, note: Note
) -> Iterator[RawRows]:
    """Yield Arrow batches as rows; the text of a row is its JSON."""
    first, kept = 1, None
    for batch in batches:
        if kept is None:
            kept = check_columns(batch.schema.names, file, schema, note)
        columns = {name: batch.column(name) for name in kept}
        numbers = np.arange(first, first + batch.num_rows)
        first += batch.num_rows

        def text(row: int, columns: dict[str, Any] = columns) -> str:
            return json.dumps(
                {name: column[row].as_py() for name, column in columns.items()}, default=str
            )

        yield RawRows(file, columns, numbers, text, counted_in="row")


def is_float_notation(texts: Sequence[str]) -> list[str]:
    """Return those texts that are numbers in float notation, such as 1.0000094181510943e+18."""
    found = []
    for text in texts:
        mantissa, mark, exponent = text.lower().partition("e")
        if mark and exponent.lstrip("+").isdigit() and mantissa.replace(".", "", 1).isdigit():
            found.append(text)
    return found
