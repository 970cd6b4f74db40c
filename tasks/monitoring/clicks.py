"""The click log: which answered impression was clicked, and when.

A record has ``request_id`` (text, as the answer of the service held it), ``position`` (of the candidate in a ranking,
from 0; left out or null is 0, a single impression) and ``clicked_utc`` (ISO 8601 text in UTC, or a timestamp; a number
is seconds since 1970). JSON lines, CSV with a header, or Parquet. Other columns are ignored, such as an event id:
two records of one impression are one click.
"""

import io
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tasks.errors import InputError
from tasks.monitoring.sources import read_bytes
from tasks.serving.exposure_files import Lines

SUFFIXES = (".jsonl", ".csv", ".parquet")
TIME = pa.timestamp("us", tz="UTC")
CLICK = pa.schema([("request_id", pa.string()), ("position", pa.int32()), ("clicked_utc", TIME)])
_MOMENT = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:?00)?$"


class ClickRows(NamedTuple):
    """The usable clicks of one file, and how many records are none: cut lines, no id, no time, no position."""

    table: pa.Table
    n_unreadable: int


def read_clicks(address: str) -> ClickRows:
    """Return the clicks of one file, columns ``request_id``, ``position`` (int32), ``clicked_utc`` (UTC).

    Raises
    ------
    InputError
        If the file as a whole is no click log.
    UnavailableError
        If S3 is temporarily unavailable.
    """
    data = read_bytes(address)
    try:
        raw, n_cut = _raw(address, data)
        columns = [_ids(raw), _positions(raw), _moments(raw)]
    except (pa.ArrowException, KeyError) as error:
        raise InputError(
            f"{address}: no click log with request_id and clicked_utc ({error})"
        ) from None
    table = pa.Table.from_arrays(columns, schema=CLICK)
    usable = table.filter(pc.and_(_all_known(table), pc.greater_equal(table["position"], 0)))
    return ClickRows(usable, n_cut + table.num_rows - usable.num_rows)


def _raw(address: str, data: bytes) -> tuple[pa.Table, int]:
    """Return a file's columns as they are, and the number of lines that were cut or damaged."""
    if ".parquet" in address.rsplit("/", 1)[-1]:
        return pq.read_table(pa.BufferReader(data)), 0
    if ".csv" in address.rsplit("/", 1)[-1]:
        return _csv(data)
    lines = Lines(pa.py_buffer(data))
    schema = lines.infer_schema()
    if not len(schema):
        return CLICK.empty_table(), lines.n_skipped
    return lines.read(schema), lines.n_skipped


def _csv(data: bytes) -> tuple[pa.Table, int]:
    bad: list[str] = []

    def skip(row: pa_csv.InvalidRow) -> str:
        bad.append(row.text or "")
        return "skip"

    whole = data[: data.rfind(b"\n") + 1]
    if not whole:
        return CLICK.empty_table(), int(bool(data))
    table = pa_csv.read_csv(
        io.BytesIO(whole),
        parse_options=pa_csv.ParseOptions(invalid_row_handler=skip),
        convert_options=pa_csv.ConvertOptions(
            column_types={name: pa.string() for name in CLICK.names}, strings_can_be_null=True
        ),
    )
    return table, len(bad) + int(len(whole) < len(data))


def _ids(raw: pa.Table) -> pa.ChunkedArray:
    ids = raw["request_id"].cast(pa.string())
    return pc.if_else(pc.equal(ids, ""), pa.scalar(None, pa.string()), ids)


def _positions(raw: pa.Table) -> pa.ChunkedArray:
    if "position" not in raw.column_names:
        return pa.chunked_array([pa.array([0] * raw.num_rows, pa.int32())])
    found = raw["position"]
    if pa.types.is_null(found.type):
        return pa.chunked_array([pa.array([0] * raw.num_rows, pa.int32())])
    if pa.types.is_string(found.type):
        sound = pc.match_substring_regex(pc.fill_null(found, "0"), r"^\d{1,9}$")
        found = pc.if_else(sound, pc.fill_null(found, "0"), "-1").cast(pa.int32())
    return pc.fill_null(found, 0).cast(pa.int32())


def _moments(raw: pa.Table) -> pa.ChunkedArray:
    found = raw["clicked_utc"]
    if pa.types.is_timestamp(found.type):
        return found.cast(TIME, safe=False)
    if pa.types.is_integer(found.type) or pa.types.is_floating(found.type):
        micros = pc.round(pc.multiply(found.cast(pa.float64()), 1e6))
        return micros.cast(pa.int64()).cast(pa.timestamp("us")).cast(TIME)
    text = found.cast(pa.string())
    sound = pc.if_else(pc.match_substring_regex(text, _MOMENT), text, pa.scalar(None, pa.string()))
    plain = pc.replace_substring_regex(sound, r"(Z|\+00:?00)$", "")
    return pc.assume_timezone(_strict(plain), "UTC")


def _strict(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts as moments; where one is no moment at all (a 13th month), value by value."""
    try:
        return text.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        import pandas as pd

        moments = pd.to_datetime(text.to_pandas(), errors="coerce", format="ISO8601")
        return pa.chunked_array([pa.array(moments, pa.timestamp("us"), from_pandas=True)])


def _all_known(table: pa.Table) -> pa.ChunkedArray:
    known = pc.is_valid(table["request_id"])
    return pc.and_(known, pc.is_valid(table["clicked_utc"]))
