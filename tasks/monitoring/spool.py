"""Files of exposures and clicks, each read once, as rows in buckets of request ids.

A file becomes one Arrow file whose batch number b holds the rows of bucket b, and a note about what was read, written
last. Names follow from the source's address and content: a killed run leaves nothing that counts, running again writes
the same, a file that grew replaces what it was before, and a file that was removed after it was read still counts.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import InputError
from tasks.monitoring.bins import FieldBins, text_hashes
from tasks.monitoring.clicks import read_clicks
from tasks.monitoring.sources import SourceFile
from tasks.serving.exposures import read_exposures
from tasks.storage.files import open_atomic, write_atomic

N_GROUPS = 50  # of units, which intervals are drawn by
_PLAIN = ("request_id", "position", "time", "variant", "version", "forced", "p_click")


@dataclass(frozen=True)
class Read:
    """What was read of one file: usable rows, unreadable ones, first and last moment (microseconds since 1970)."""

    identity: str
    address: str
    n_rows: int
    n_unreadable: int
    first_us: int
    last_us: int


class Spool:
    """The rows of one log, exposures or clicks, in `n_buckets` buckets below a folder."""

    def __init__(self, folder: Path, n_buckets: int, fields: list[FieldBins] | None = None):
        self.folder, self.n_buckets, self.fields = folder, n_buckets, fields
        self.notes: list[str] = []

    def take(self, files: list[SourceFile]) -> int:
        """Read what is new among the files and return how many were.

        Raises
        ------
        DiskFullError
            If the disk is full. What was read so far stays read.
        UnavailableError
            If S3 is temporarily unavailable; likewise.
        """
        n_new = 0
        for left in self.folder.glob(".*.partial"):
            left.unlink(missing_ok=True)
        for file in files:
            known = self._note(file.name)
            is_read = known is not None and known.identity == file.identity
            if known is not None and is_read and self._rows_of(known).exists():
                continue
            try:
                table, n_unreadable = self._rows(file.address)
            except InputError as error:
                self.notes.append(f"left out: {error}")
                continue
            self._write(file, table, n_unreadable)
            n_new += 1
        return n_new

    def reads(self) -> list[Read]:
        """Return what was read, by address."""
        notes = [self._note(path.stem) for path in sorted(self.folder.glob("*.json"))]
        return sorted((one for one in notes if one), key=lambda one: one.address)

    def buckets(self) -> Iterator[pa.Table]:
        """Yield the rows of each bucket; only one is in memory."""
        files = [
            pa.memory_map(str(path))
            for one in self.reads()
            if (path := self._rows_of(one)).exists()
        ]
        readers = [pa.ipc.open_file(file) for file in files]
        try:
            for bucket in range(self.n_buckets):
                batches = [reader.get_batch(bucket) for reader in readers]
                yield pa.Table.from_batches(batches, self._schema())
        finally:
            for file in files:
                file.close()

    def _note(self, name: str) -> Read | None:
        try:
            return Read(**json.loads((self.folder / f"{name}.json").read_text()))
        except (OSError, ValueError, TypeError):  # it is read again
            return None

    def _rows_of(self, read: Read) -> Path:
        return self.folder / f"{read.identity}.arrow"

    def _schema(self) -> pa.Schema:
        return click_schema() if self.fields is None else exposure_schema(len(self.fields))

    def _rows(self, address: str) -> tuple[pa.Table, int]:
        if self.fields is None:
            clicks = read_clicks(address)
            return clicks.table.rename_columns(click_schema().names), clicks.n_unreadable
        return exposure_rows(address, self.fields)

    def _write(self, file: SourceFile, table: pa.Table, n_unreadable: int) -> None:
        table = table.combine_chunks()
        ids = pa.chunked_array(table["request_id"]).combine_chunks()
        bucket = text_hashes(ids) % self.n_buckets if len(ids) else np.empty(0, np.int64)
        table = table.take(pa.array(np.argsort(bucket, kind="stable")))
        ends = np.cumsum(np.bincount(bucket, minlength=self.n_buckets))
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with (
            open_atomic(self.folder / f"{file.identity}.arrow") as handle,
            pa.ipc.new_file(handle, table.schema, options=options) as writer,
        ):
            for start, stop in zip([0, *ends[:-1]], ends, strict=True):
                writer.write_batch(_one_batch(table.slice(start, stop - start).combine_chunks()))
        before = self._note(file.name)
        times = pc.min_max(table["time"].cast(pa.int64())).as_py()
        span = (times["min"] or 0, times["max"] or 0)
        read = Read(file.identity, file.address, table.num_rows, n_unreadable, *span)
        write_atomic(self.folder / f"{file.name}.json", json.dumps(asdict(read)))
        if before is not None and before.identity != file.identity:
            self._rows_of(before).unlink(missing_ok=True)


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    found = table.to_batches()
    return found[0] if found else pa.RecordBatch.from_pylist([], table.schema)


def click_schema() -> pa.Schema:
    """Return the columns of clicks in a bucket."""
    time = pa.timestamp("us", tz="UTC")
    return pa.schema([("request_id", pa.string()), ("position", pa.int32()), ("time", time)])


def exposure_schema(n_fields: int) -> pa.Schema:
    """Return the columns of exposures in a bucket: a unit's group, and each field's bin as one byte."""
    columns: list[Any] = [*click_schema(), ("variant", pa.string()), ("version", pa.string())]
    columns += [("forced", pa.bool_()), ("p_click", pa.float64()), ("group", pa.uint8())]
    return pa.schema([*columns, ("bins", pa.binary(n_fields))])


def exposure_rows(address: str, fields: list[FieldBins]) -> tuple[pa.Table, int]:
    """Return the exposures of one file as :func:`exposure_schema` has them, and how many records are unusable.

    Raises
    ------
    InputError
        If the file holds no exposures.
    """
    found = read_exposures(address, columns=[one.name for one in fields]).combine_chunks()
    n_skipped = int(found.schema.metadata[b"n_skipped"])
    p_click = found["p_click"]
    sound = pc.and_(pc.greater_equal(p_click, 0), pc.less_equal(p_click, 1))
    known = pc.and_(pc.is_valid(found["request_id"]), pc.is_valid(found["time"]))
    usable = found.filter(pc.fill_null(pc.and_(sound, known), False)).combine_chunks()
    columns = {name: usable[name] for name in _PLAIN}
    columns["group"] = pa.array(_groups(usable), pa.uint8())
    columns["bins"] = pa.array(_bins(usable, fields), pa.binary(len(fields)))
    schema = exposure_schema(len(fields))
    table = pa.Table.from_arrays([columns[name] for name in schema.names], schema.names)
    return table.cast(schema), n_skipped + found.num_rows - usable.num_rows


def _groups(rows: pa.Table) -> np.ndarray:
    """Return the group of each row's unit; without a unit, of its request."""
    units = pc.fill_null(rows["unit_hash"], "")
    owner = pc.if_else(pc.equal(units, ""), rows["request_id"], units).combine_chunks()
    return (text_hashes(owner) >> 8) % N_GROUPS if len(owner) else np.empty(0, np.int64)


def _bins(rows: pa.Table, fields: list[FieldBins]) -> pa.Array:
    if not fields or not rows.num_rows:
        return pa.array([b""] * rows.num_rows if not fields else [], pa.binary(len(fields)))
    values = rows["fields"].combine_chunks()
    codes = np.column_stack([one.codes(pc.struct_field(values, one.name)) for one in fields])
    data = pa.py_buffer(np.ascontiguousarray(codes).tobytes())
    return pa.Array.from_buffers(pa.binary(len(fields)), rows.num_rows, [None, data])
