"""Files of the exposure log, one record per request: schema, reading, and conversion to Parquet."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

_Result = TypeVar("_Result")
_BLOCK_BYTES = 4 << 20  # longer than any line that the service writes
_TAIL_BYTES = 1 << 16
_FAULTS = (pa.ArrowInvalid, pa.ArrowNotImplementedError)  # of lines, by Arrow
_TEXTS = ("call", "experiment", "variant", "version", "unit_hash", "unit_field")
_P_CLICK = pa.list_(pa.float64())
HEAD = pa.schema(
    [
        ("request_id", pa.string()),
        ("time", pa.timestamp("us", tz="UTC")),
        *[(name, pa.string()) for name in _TEXTS],
        ("forced", pa.bool_()),
    ]
)
_SCORES = pa.schema(
    [
        ("p_click", _P_CLICK),
        ("shadow", pa.list_(pa.struct([("model", pa.string()), ("p_click", _P_CLICK)]))),
    ]
)


def record_schema(columns: Sequence[str]) -> pa.Schema:
    """Return the Arrow schema of a file of exposures whose fields are `columns`.

    Examples
    --------
    >>> record_schema(["C14"]).field("candidates").type
    StructType(struct<C14: list<item: string>>)
    """
    schema = pa.schema([*HEAD, *_SCORES])
    if not columns:  # Parquet knows no struct without members
        return schema
    for part, kind in (("fields", pa.string()), ("candidates", pa.list_(pa.string()))):
        schema = schema.append(pa.field(part, pa.struct([(name, kind) for name in columns])))
    return schema


def field_names(schema: pa.Schema) -> list[str]:
    """Return the field names in a file's records, of contexts and candidates."""
    names: dict[str, None] = {}
    for column in ("fields", "candidates"):
        if column in schema.names:
            kind = schema.field(column).type
            if pa.types.is_struct(kind):
                names |= dict.fromkeys(field.name for field in kind)
    return list(names)


def map_file(path: Path) -> pa.Buffer:
    """Return a file's bytes without reading them yet."""
    if path.stat().st_size == 0:
        return pa.py_buffer(b"")
    with pa.memory_map(str(path)) as file:
        return file.read_buffer()


def write_parquet(source: Path, target: Path, *, columns: Sequence[str] = ()) -> int:
    """Write a file of lines as Parquet and return the number of unreadable lines.

    Arrow does it block by block without Python's lock; on failure `target` is removed.

    Parameters
    ----------
    columns
        The fields of the requests, so that every file has the same schema; if empty, those that occur.
    """
    lines = Lines(map_file(source))
    schema = record_schema(columns or lines.field_names())
    try:
        lines.parse(lambda data: _write(target, schema, _batches(data, schema)), schema)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return lines.n_skipped


def _write(target: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)


class Lines:
    """The lines of JSON in a buffer.

    Attributes
    ----------
    n_unfit
        Complete lines that are no exposures.
    n_skipped
        Unreadable lines: the last one if it lacks its newline, those that are no JSON object or no exposure,
        and those that are longer than Arrow reads.
    """

    def __init__(self, data: pa.Buffer):
        whole = _whole_bytes(data)
        self._data = data.slice(0, whole)
        self.n_unfit, self._n_torn = 0, int(whole < data.size)

    @property
    def n_skipped(self) -> int:
        return self.n_unfit + self._n_torn

    def field_names(self) -> list[str]:
        """Return the names of the fields that occur in the lines."""
        try:
            return field_names(_inferred(self._data))
        except _FAULTS:
            self._keep_readable(record_schema([]))
            records = map(json.loads, self._data.to_pybytes().splitlines())
            rows = [record.get(part) for record in records for part in ("fields", "candidates")]
            return list(
                dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row)
            )

    def infer_schema(self) -> pa.Schema:
        """Return the schema that Arrow infers from the lines."""
        return self.parse(_inferred, pa.schema([]))

    def read(self, schema: pa.Schema) -> pa.Table:
        """Return the lines as a table with this schema."""
        return self.parse(lambda data: _table(data, schema), schema)

    def parse(self, parser: Callable[[pa.Buffer], _Result], schema: pa.Schema) -> _Result:
        """Return a parser's result for the lines; if it fails, for those that fit the schema by themselves."""
        try:
            return parser(self._data)
        except _FAULTS:
            self._keep_readable(schema)
            return parser(self._data)

    def _keep_readable(self, schema: pa.Schema) -> None:
        lines = self._data.to_pybytes().splitlines()
        good = _readable([line for line in lines if _is_object(line)], schema)
        self.n_unfit += len(lines) - len(good)
        self._data = _joined(good)


def _readable(lines: list[bytes], schema: pa.Schema) -> list[bytes]:
    """Return the lines that Arrow reads with a schema, found by halving."""
    try:
        _table(_joined(lines), schema)
        return lines
    except _FAULTS:
        if len(lines) == 1:
            return []
        half = len(lines) // 2
        return _readable(lines[:half], schema) + _readable(lines[half:], schema)


def _joined(lines: list[bytes]) -> pa.Buffer:
    return pa.py_buffer(b"".join([line + b"\n" for line in lines]))


def _table(data: pa.Buffer, schema: pa.Schema) -> pa.Table:
    return pa.Table.from_batches(_batches(data, schema), schema)


def _whole_bytes(data: pa.Buffer) -> int:
    """Return where the last complete line ends."""
    tail = min(data.size, _TAIL_BYTES)
    while True:
        found = data.slice(data.size - tail).to_pybytes().rfind(b"\n") + 1
        if found or tail == data.size:
            return data.size - tail + found if found else 0
        tail = min(data.size, 8 * tail)


def _is_object(line: bytes) -> bool:
    try:
        return len(line) < _BLOCK_BYTES and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _inferred(data: pa.Buffer) -> pa.Schema:
    if data.size == 0:
        return pa.schema([])
    return pj.read_json(pa.BufferReader(data), read_options=_read_options()).schema


def _batches(data: pa.Buffer, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    if data.size == 0:
        return
    options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    yield from pj.open_json(
        pa.BufferReader(data), read_options=_read_options(), parse_options=options
    )


def _read_options() -> Any:
    return pj.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES)
