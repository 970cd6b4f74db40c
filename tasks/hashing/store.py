"""Feature sets as they are written: a span of a log hashed into parts that survive a killed run.

A folder holds ``plan.json`` (written first: what is to be built), one Arrow IPC file a part, and
``manifest.json`` (written last: the set is complete). Part ``i`` is the rows from
``i * batch_rows`` on, however the log was read, so a killed run goes on with the parts it lacks.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from tasks.errors import InputError
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import encode_batch
from tasks.hashing.feature_set import MANIFEST, Batch, FeatureSet, read_part
from tasks.hashing.moments import read_moments
from tasks.storage import write_atomic

__all__ = ["Batch", "FeatureSet", "Log", "Written", "make_batch", "write_features"]

PLAN = "plan.json"
_DIGEST_KEY = b"clicklab.plan"


class Log(Protocol):
    """What is needed of a log: rows in order, read in spans, and a digest of its content."""

    @property
    def n_rows(self) -> int: ...

    @property
    def manifest(self) -> Mapping[str, Any]: ...

    def batches(
        self, *, columns: Sequence[str] | None, start: int, stop: int | None, batch_rows: int
    ) -> Iterator[pa.RecordBatch]: ...


class Written(NamedTuple):
    """What :func:`write_features` did."""

    n_rows: int
    n_parts: int
    n_skipped: int  # parts that an earlier run of the same plan had finished
    seconds: float


def write_features(
    log: Log,
    span: tuple[int, int],
    contract: HashContract,
    folder: str | Path,
    batch_rows: int = 65_536,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Hash a span of a log into `folder`, and say what was done.

    Parameters
    ----------
    log
        The log to read.
    span
        Its first row and the one past its last.
    contract
        What to hash, and how.
    folder
        Where the feature set goes. Parts that the same plan finished there are kept, those of
        another plan are removed.
    batch_rows
        Rows a part, which is also what is held in memory.
    progress
        Called with rows done and rows in all after each part.

    Raises
    ------
    InputError
        If a column is missing, a label is not 0 or 1, or the log holds fewer rows than it says.
    """
    since = time.monotonic()
    folder, (start, stop) = Path(folder), span
    if not 0 <= start <= stop <= log.n_rows or batch_rows < 1:
        raise InputError(
            f"rows {start} to {stop} in parts of {batch_rows} are not to be had from {log.n_rows} rows"
        )
    plan = {
        "contract": contract.to_dict(),
        "log_digest": log.manifest["digest"],
        "span": [start, stop],
        "batch_rows": batch_rows,
    }
    digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:16]
    _prepare(folder, plan)
    sizes = [min(batch_rows, stop - begin) for begin in range(start, stop, batch_rows)]
    lacking = [
        i for i, size in enumerate(sizes) if not _is_finished(_part(folder, i), digest, size)
    ]
    n_done = sum(sizes) - sum(sizes[i] for i in lacking)
    for first, last in _runs(lacking):
        part_span = start + first * batch_rows, min(start + last * batch_rows, stop)
        columns = [contract.schema["label"], contract.time_column, *contract.fields]
        tables = _tables(log, columns, batch_rows, part_span)
        for i, table in enumerate(tables, start=first):
            _write_part(_part(folder, i), make_batch(table, contract), digest)
            n_done += table.num_rows
            if progress is not None:
                progress(n_done, sum(sizes))
    _finish(folder, {**plan, "digest": digest, "source": log.manifest.get("source", "")}, sizes)
    return Written(sum(sizes), len(sizes), len(sizes) - len(lacking), time.monotonic() - since)


def make_batch(table: pa.RecordBatch | pa.Table, contract: HashContract) -> Batch:
    """Return codes, labels and times of a batch of rows.

    Raises
    ------
    InputError
        If a column is missing, or a label is not 0 or 1.
    """
    label = contract.schema["label"]
    for name in (label, contract.time_column):
        if name not in table.schema.names:
            raise InputError(
                f"column {name!r} is missing from the batch; its columns are {table.schema.names}"
            )
    moments = read_moments(_whole(table.column(contract.time_column)), contract)
    labels = _labels(_whole(table.column(label)), label)
    return Batch(encode_batch(table, contract), labels, moments.view("datetime64[ms]"))


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _labels(column: pa.Array, name: str) -> np.ndarray:
    try:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        labels = column.cast(pa.uint8())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"label {name!r} must be 0 or 1 ({error})") from None
    if labels.null_count:
        raise InputError(
            f"label {name!r} is missing in {labels.null_count} rows; remove those rows"
        )
    values = labels.to_numpy(zero_copy_only=False)
    if values.size and values.max() > 1:
        raise InputError(f"label {name!r} must be 0 or 1, found {values.max()}")
    return values


def _part(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06d}.arrow"


def _write_json(path: Path, content: Any) -> None:
    write_atomic(path, json.dumps(content, indent=2) + "\n")


def _prepare(folder: Path, plan: Mapping[str, Any]) -> None:
    """Leave the folder with this plan and parts of no other; old parts go before the new plan comes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    for path in folder.glob(".part-*.partial"):  # left by a killed run
        path.unlink()
    try:
        same = json.loads((folder / PLAN).read_text()) == plan
    except (OSError, ValueError):
        same = False
    if not same:
        (folder / PLAN).unlink(missing_ok=True)
        for path in folder.glob("part-*.arrow"):
            path.unlink()
        _write_json(folder / PLAN, plan)


def _is_finished(path: Path, digest: str, n_rows: int) -> bool:
    """Tell whether the part is whole, of this plan and of this length; a part that is not is written again."""
    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
            metadata = reader.schema.metadata or {}
            return (
                metadata.get(_DIGEST_KEY) == digest.encode()
                and reader.get_batch(0).num_rows == n_rows
            )
    except (OSError, pa.ArrowInvalid):
        return False


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield first and one past last of each run of consecutive numbers."""
    first = None
    for i, number in enumerate(numbers):
        first = number if first is None else first
        if i + 1 == len(numbers) or numbers[i + 1] != number + 1:
            yield first, number + 1
            first = None


def _tables(
    log: Log, columns: Sequence[str], batch_rows: int, span: tuple[int, int]
) -> Iterator[pa.Table]:
    """Yield tables of exactly `batch_rows` rows, the last one shorter, reading one batch ahead."""
    start, stop = span
    batches = _read_ahead(
        log.batches(columns=columns, batch_rows=batch_rows, start=start, stop=stop)
    )
    held: list[pa.RecordBatch] = []
    n_held = n_read = 0
    for batch in batches:
        n_read += batch.num_rows
        while batch.num_rows and n_held + batch.num_rows >= batch_rows:
            n_taken = batch_rows - n_held
            yield pa.Table.from_batches([*held, batch.slice(0, n_taken)])
            held, n_held, batch = [], 0, batch.slice(n_taken)
        if batch.num_rows:
            held.append(batch)
            n_held += batch.num_rows
    if n_read != stop - start:
        raise InputError(f"the log gave {n_read} rows from {start} to {stop}; ingest it again")
    if held:
        yield pa.Table.from_batches(held)


def _read_ahead(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    iterator = iter(batches)
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        coming = pool.submit(next, iterator, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, iterator, None)
            yield batch


def _write_part(path: Path, batch: Batch, digest: str) -> None:
    codes = pa.FixedSizeListArray.from_arrays(
        pa.array(batch.codes.reshape(-1)), batch.codes.shape[1]
    )
    moments = pa.array(batch.time.view(np.int64)).cast(pa.timestamp("ms", tz="UTC"))
    columns = {"codes": codes, "label": pa.array(batch.label), "time": moments}
    record = pa.record_batch(columns).replace_schema_metadata({_DIGEST_KEY: digest.encode()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, record.schema) as writer:
        writer.write_batch(record)
    write_atomic(path, sink.getvalue().to_pybytes())


def _finish(folder: Path, plan: Mapping[str, Any], sizes: Sequence[int]) -> None:
    parts: list[dict[str, Any]] = []
    for number, n_rows in enumerate(sizes):
        path = _part(folder, number)
        n_clicks = int(read_part(path).label.sum())
        parts.append(
            {
                "file": path.name,
                "n_rows": n_rows,
                "n_clicks": n_clicks,
                "n_bytes": path.stat().st_size,
            }
        )
    totals = {f"n_{name}": sum(part[f"n_{name}"] for part in parts) for name in ("rows", "clicks")}
    _write_json(folder / MANIFEST, {**plan, **totals, "parts": parts})
