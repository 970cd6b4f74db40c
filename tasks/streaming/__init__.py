"""Rows straight from a log or a CSV to a learner: read and hashed on other threads while one learns.

Nothing is written on the way and memory does not grow with the rows. A pipeline that trains several
models, or several epochs, is better served by a feature set on disk (:mod:`tasks.hashing.store`).
"""

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from tasks.errors import ConfigError, InputError
from tasks.hashing.contract import HashContract
from tasks.hashing.feature_set import Batch
from tasks.hashing.store import make_batch
from tasks.logs.intake.csv_block import Layout, parse_block
from tasks.logs.intake.readers import check_columns
from tasks.logs.log import Log
from tasks.schema import Schema
from tasks.streaming.csv_codes import PAD_BYTES, CsvCodes

BLOCK_BYTES = 1 << 20  # a block and its codes stay in the second cache
_TAIL_BYTES = 1 << 12
_MAX_HEADER_BYTES = 1 << 20


def hash_stream(
    batches: Iterable[pa.RecordBatch], contract: HashContract, *, n_ahead: int = 2
) -> Iterator[Batch]:
    """Yield codes, labels and times of every batch in order, up to `n_ahead` batches ahead of the caller.

    Reading and hashing happen on a thread of their own and let go of the interpreter for most of it,
    so that they cost no time where a learner is busy for longer. The order of rows does not change.

    Parameters
    ----------
    batches
        With the columns that :func:`tasks.hashing.store.make_batch` needs.
    contract
        What to hash, and how.
    n_ahead
        Batches that may wait for the caller, 1 or more; each is held in memory.

    Raises
    ------
    InputError
        As :func:`tasks.hashing.store.make_batch`, when the batch it happened in is reached.
    """
    _check_at_least_one("n_ahead", n_ahead)
    source = iter(batches)

    def take() -> Batch | None:
        batch = next(source, None)
        return None if batch is None else make_batch(batch, contract)

    with ThreadPoolExecutor(1, thread_name_prefix="hash-ahead") as pool:
        coming: deque[Future[Batch | None]] = deque(pool.submit(take) for _ in range(n_ahead))
        try:
            while (batch := coming.popleft().result()) is not None:
                coming.append(pool.submit(take))
                yield batch
        finally:
            for job in coming:
                job.cancel()


def log_stream(
    log: Log,
    contract: HashContract,
    *,
    start: int = 0,
    stop: int | None = None,
    batch_rows: int = 65_536,
) -> Iterator[Batch]:
    """Yield codes, labels and times of rows `start` to `stop` of a log; see :func:`hash_stream`."""
    columns = [contract.schema["label"], contract.time_column, *contract.fields]
    batches = log.batches(columns=columns, start=start, stop=stop, batch_rows=batch_rows)
    return hash_stream(batches, contract)


def csv_stream(
    path: str | Path, contract: HashContract, *, n_threads: int = 2, block_bytes: int = BLOCK_BYTES
) -> Iterator[Batch]:
    """Yield codes, labels and times of the rows of a CSV, in the order of the file.

    Unlike ``ingest`` this sets no bad rows aside, looks for no duplicates and sorts nothing.

    Parameters
    ----------
    path
        An unpacked file with a header.
    contract
        What to hash, and how.
    n_threads
        Blocks that are hashed at the same time, 1 or more.
    block_bytes
        Bytes that are read at a time; the rows do not depend on it.

    Raises
    ------
    InputError
        If the file cannot be read, a column is missing, or a line is no row; the message names it.
    """
    _check_at_least_one("n_threads", n_threads)
    _check_at_least_one("block_bytes", block_bytes)
    with _opened(path) as stream:
        layout = _read_layout(stream, str(path), Schema.from_dict(contract.schema))
        yield from _hash_blocks(stream, str(path), layout, contract, n_threads, block_bytes)


def _opened(path: str | Path) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror})") from None


def _check_at_least_one(name: str, value: Any) -> None:
    if not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be an integer of at least 1, got {value!r}")


def _read_layout(stream: BinaryIO, file: str, schema: Schema) -> Layout:
    line = stream.readline(_MAX_HEADER_BYTES)
    try:
        header = next(csv.reader([line.decode("utf-8-sig").strip()]), [])
    except (UnicodeDecodeError, csv.Error):
        raise InputError(
            f"{file}: no CSV header in the first line; expected column names"
        ) from None
    header = [name.strip() for name in header]
    found = check_columns(header, file, schema, note=lambda _: None)
    wanted = {schema.label, schema.time_column, *schema.field_names}
    kept = {name: header.index(name) for name in found if name in wanted}
    return Layout(len(header), kept, plain=frozenset())


def _hash_blocks(
    stream: BinaryIO,
    file: str,
    layout: Layout,
    contract: HashContract,
    n_threads: int,
    block_bytes: int,
) -> Iterator[Batch]:
    """Hash blocks side by side; those that are not plain CSV are parsed by Arrow when they are reached."""
    coder = CsvCodes(layout, contract) if CsvCodes.can_hash(contract) else None

    def work(block: np.ndarray, n_bytes: int) -> tuple[Batch | None, np.ndarray]:
        return (coder.parse(block, n_bytes) if coder else None), block[:n_bytes]

    n_lines = 1
    with ThreadPoolExecutor(n_threads, thread_name_prefix="hash-csv") as pool:
        jobs: deque[Future[tuple[Batch | None, np.ndarray]]] = deque()
        try:
            for block, n_bytes in _blocks(stream, block_bytes):
                jobs.append(pool.submit(work, block, n_bytes))
                if len(jobs) > n_threads:
                    batch, n_lines = _finished(jobs.popleft(), file, n_lines, layout, contract)
                    yield batch
            while jobs:
                batch, n_lines = _finished(jobs.popleft(), file, n_lines, layout, contract)
                yield batch
        finally:
            for job in jobs:
                job.cancel()


def _finished(
    job: Future[tuple[Batch | None, np.ndarray]],
    file: str,
    n_lines: int,
    layout: Layout,
    contract: HashContract,
) -> tuple[Batch, int]:
    """Return the rows of a block, and the number of its last line."""
    batch, block = job.result()
    if batch is not None:
        return batch, n_lines + len(batch.label)
    text = block.tobytes()
    rows = parse_block(text, file, n_lines + 1, layout)
    if rows.bad:
        bad = rows.bad[0]
        raise InputError(
            f"{file}: line {bad.number} is no row ({bad.reason}); use `ingest`, which sets bad rows aside"
        )
    columns = pa.RecordBatch.from_arrays(list(rows.columns.values()), list(rows.columns))
    return make_batch(columns, contract), n_lines + text.count(b"\n")


def _blocks(stream: BinaryIO, block_bytes: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield blocks that end with a line, and their bytes; each has room for a kernel to read on."""
    left = np.empty(0, dtype=np.uint8)
    while True:
        block = np.empty(left.size + block_bytes + 1 + PAD_BYTES, dtype=np.uint8)
        block[: left.size] = left
        n_read = stream.readinto(block[left.size : left.size + block_bytes])  # type: ignore[attr-defined]
        n_bytes = left.size + n_read
        if not n_read:
            if n_bytes:
                block[n_bytes] = ord("\n")
                yield block, n_bytes + 1
            return
        cut = _after_last_line(block, n_bytes)
        left = block[cut:n_bytes]
        if cut:
            yield block, cut


def _after_last_line(block: np.ndarray, n_bytes: int) -> int:
    for start in (max(0, n_bytes - _TAIL_BYTES), 0):
        found = block[start:n_bytes].tobytes().rfind(b"\n")
        if found >= 0:
            return start + found + 1
    return 0
