"""The service's exposure log as a table: the request, what answered it, and with which probability.

The service writes JSON lines or Parquet, one record per request; here each scored candidate becomes a
separate row, whatever the format, so that a late click can be joined to it.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.errors import InputError
from tasks.serving.exposure_files import HEAD, Lines, field_names, map_file, record_schema
from tasks.storage.s3 import is_s3, s3_client, s3_errors

_Found = TypeVar("_Found")
_SUFFIXES = (".jsonl", ".parquet")


def read_exposures(source: str | Path, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the exposures of a file, a folder or an S3 address, one row per scored candidate.

    Parameters
    ----------
    source
        The service's ``exposures.sink``, or a file in it. A folder stands for its finished files; one
        still being written (``.part``) can be named explicitly.
    columns
        The fields to read; by default all, which takes twice as long for JSON lines.

    Returns
    -------
    pyarrow.Table
        ``request_id``, ``time`` (UTC), ``call``, ``experiment``, ``variant``, ``version``,
        ``unit_hash``, ``unit_field``, ``forced``; ``position`` (int32, of the candidate, 0 for a
        single impression), ``p_click`` (float64), ``shadow`` (struct of float64 by model), ``fields``
        (struct of text by field; a candidate's own value overrides the context's, null is a field
        that was not sent, the empty text one that was sent as null). A struct without members is
        left out. The metadata's ``n_skipped`` counts unreadable lines, such as the last one of a
        killed process, and ``n_skipped_files`` files that hold no exposures.

    Raises
    ------
    InputError
        If nothing is found, or no file holds exposures.
    """
    files = _list(str(source))
    if columns is None:
        found, _ = _readable(_names, files)
        columns = list(dict.fromkeys(name for names in found for name in names))
    records, n_files = _readable(lambda file: _read(file, record_schema(columns)), files)
    models = sorted({name for part in records for name in _models(part.table)})
    rows = pa.concat_tables([_by_candidate(part.table, columns, models) for part in records])
    n_skipped = sum(part.n_skipped for part in records)
    return rows.replace_schema_metadata(
        {"n_skipped": str(n_skipped), "n_skipped_files": str(n_files)}
    )


def _readable(read: Callable[[Any], _Found], files: Sequence[Any]) -> tuple[list[_Found], int]:
    """Return what is read from each file, and how many hold no exposures; InputError if none does."""
    found: list[_Found] = []
    faults: list[InputError] = []
    for file in files:
        try:
            found.append(read(file))
        except InputError as error:
            faults.append(error)
    if not found:
        raise faults[0]
    return found, len(faults)


def find_exposures(source: str | Path, request_id: str) -> pa.Table:
    """Return the rows of one request, as :func:`read_exposures` does; also from a file that is still being written.

    Files are searched one by one, the newest name last; memory holds one of them.

    Raises
    ------
    InputError
        If no exposures are there, or none of that request.
    """
    files = _list(str(source), also=(".jsonl.part",))
    for file in reversed(files):
        with suppress(InputError):  # a damaged file hides no other
            rows = _rows_of(file, request_id)
            if rows is not None:
                return rows
    raise InputError(
        f"{source}: no request {request_id!r} among the exposures of {len(files)} files; "
        "its file may not be delivered yet, or the request was not logged (`exposures` in bentos/ctr/serving.yaml)"
    )


def _rows_of(file: Any, request_id: str) -> pa.Table | None:
    """Return the rows of a request in a file; None if it is not there."""
    if file.is_parquet:
        if not pc.any(pc.equal(_parquet(file).read(["request_id"])[0], request_id)).as_py():
            return None
    elif request_id.encode() not in file.data.to_pybytes():
        return None
    names = _names(file)
    table = _read(file, record_schema(names)).table
    table = table.filter(pc.equal(table["request_id"], request_id))
    return _by_candidate(table, names, _models(table)) if table.num_rows else None


# ---- files


class _File(NamedTuple):
    """One file: its address, and its bytes."""

    uri: str
    data: pa.Buffer

    @property
    def is_parquet(self) -> bool:
        return self.uri.endswith(".parquet")


class _Records(NamedTuple):
    """The records of one file, one row per request, and the number of unreadable lines."""

    table: pa.Table
    n_skipped: int


def _list(source: str, *, also: tuple[str, ...] = ()) -> list[_File]:
    """Return the files of a source; `also` names further endings of files on disk."""
    found = _list_s3(source) if is_s3(source) else _list_local(Path(source), (*_SUFFIXES, *also))
    if not found:
        raise InputError(
            f"{source}: no exposures there; expected files ending in {' or '.join(_SUFFIXES)}"
        )
    return found


def _list_local(path: Path, endings: tuple[str, ...]) -> list[_File]:
    if path.is_file():
        return [_File(str(path), map_file(path))]
    files = [file for file in sorted(path.rglob("*")) if file.name.endswith(endings)]
    return [_File(str(file), map_file(file)) for file in files]


def _list_s3(source: str) -> list[_File]:
    bucket, _, prefix = source.removeprefix("s3://").partition("/")
    folder = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
    client = s3_client()
    with s3_errors(source):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = sorted(entry["Key"] for page in pages for entry in page.get("Contents", ()))
        chosen = [key for key in keys if key == prefix or key.startswith(folder)]
        return [
            _File(f"s3://{bucket}/{key}", pa.py_buffer(_get(client, bucket, key)))
            for key in chosen
            if key.endswith(_SUFFIXES)
        ]


def _get(client: Any, bucket: str, key: str) -> bytes:
    return client.get_object(Bucket=bucket, Key=key)["Body"].read()


def _names(file: _File) -> list[str]:
    if file.is_parquet:
        return field_names(_parquet(file).schema_arrow)
    return Lines(file.data).field_names()


def _read(file: _File, schema: pa.Schema) -> _Records:
    if file.is_parquet:
        return _Records(_parquet(file).read(), 0)
    lines = Lines(file.data)
    table = lines.read(schema)
    if lines.n_unfit and not table.num_rows:
        raise InputError(f"{file.uri}: these are no exposures, none of its lines can be read")
    return _Records(table, lines.n_skipped)


def _parquet(file: _File) -> Any:
    try:
        found = pq.ParquetFile(pa.BufferReader(file.data))
    except pa.ArrowInvalid as error:
        raise InputError(f"{file.uri}: not a Parquet file ({error})") from None
    if lost := [name for name in record_schema([]).names if name not in found.schema_arrow.names]:
        raise InputError(f"{file.uri}: these are no exposures, there is no column {lost[0]!r}")
    return found


# ---- one row per candidate


class _Places(NamedTuple):
    """For each new row, the record it comes from, and its position there."""

    record: np.ndarray
    position: np.ndarray
    n_records: int

    def within(self, lists: Any, records: np.ndarray | None = None) -> pa.Array:
        """Return each row's index into the flattened `lists`, null where its list is shorter.

        `records` gives the record of each list, with no more than one list per record; by default, one each.
        """
        lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
        begins = np.cumsum(lengths) - lengths
        entry = self.record
        if records is not None:
            of_record = np.full(self.n_records, -1)
            of_record[records] = np.arange(len(records))
            entry = of_record[entry]
        lost = entry < 0
        entry = np.where(lost, 0, entry)
        if not len(lengths):
            return pa.nulls(len(entry), pa.int64())
        return pa.array(
            begins[entry] + self.position, mask=lost | (self.position >= lengths[entry])
        )


def _by_candidate(table: pa.Table, columns: Sequence[str], models: Sequence[str]) -> pa.Table:
    table = table.combine_chunks()
    p_click = _column(table, "p_click")
    places = _places(p_click)
    rows = table.select(HEAD.names).take(pa.array(places.record)).cast(HEAD)
    rows = rows.append_column("position", pa.array(places.position, pa.int32()))
    rows = rows.append_column("p_click", p_click.flatten())
    if models:
        shadows = [_shadow(_column(table, "shadow"), name, places) for name in models]
        rows = rows.append_column("shadow", pa.StructArray.from_arrays(shadows, list(models)))
    if columns:
        fields = [_field(table, name, places) for name in columns]
        rows = rows.append_column("fields", pa.StructArray.from_arrays(fields, list(columns)))
    return rows


def _places(p_click: Any) -> _Places:
    lengths = pc.list_value_length(p_click).fill_null(0).to_numpy(zero_copy_only=False)
    record = np.repeat(np.arange(len(lengths)), lengths)
    position = np.arange(len(record)) - (np.cumsum(lengths) - lengths)[record]
    return _Places(record, position, len(lengths))


def _column(table: pa.Table, name: str) -> Any:
    """Return a column in one piece."""
    column = table.column(name)
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _field(table: pa.Table, name: str, places: _Places) -> pa.Array:
    """Return a field's values: the candidate's own, otherwise the context's."""
    own = pa.nulls(len(places.record), pa.string())
    if "fields" not in table.column_names:
        return own
    context, candidates = _column(table, "fields"), _column(table, "candidates")
    if name not in [field.name for field in context.type]:
        return own
    lists = pc.struct_field(candidates, name)
    own = lists.flatten().take(places.within(lists))
    return pc.coalesce(own, pc.struct_field(context, name).take(pa.array(places.record)))


def _models(table: pa.Table) -> list[str]:
    shadow = _column(table, "shadow").flatten()
    return pc.unique(pc.struct_field(shadow, "model")).to_pylist()


def _shadow(shadow: Any, model: str, places: _Places) -> pa.Array:
    """Return a shadow model's probability of each row, null where it did not score."""
    mask = pc.equal(pc.struct_field(shadow.flatten(), "model"), model)
    records = pc.list_parent_indices(shadow).filter(mask).to_numpy()
    lists = pc.struct_field(shadow.flatten(), "p_click").filter(mask)
    return lists.flatten().take(places.within(lists, records))
