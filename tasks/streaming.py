"""Rows straight from a log or a CSV to a learner: read and hashed on one thread while another learns.

Nothing is written on the way and memory does not grow with the rows. A pipeline that trains several
models, or several epochs, is better served by a feature set on disk (:mod:`tasks.hashing.store`).
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from tasks.csv_block import Layout
from tasks.csv_rows import read_csv
from tasks.errors import ConfigError, InputError
from tasks.hashing.contract import HashContract
from tasks.hashing.feature_set import Batch
from tasks.hashing.store import make_batch
from tasks.log import Log
from tasks.readers import check_columns
from tasks.schema import Schema

BLOCK_BYTES = 8 << 20


def hash_stream(
    batches: Iterable[pa.RecordBatch], contract: HashContract, *, n_ahead: int = 2
) -> Iterator[Batch]:
    """Yield codes, labels and times of every batch in order, up to `n_ahead` batches ahead of the caller.

    Reading and hashing happen on a thread of their own and let go of the interpreter for most of it,
    so that they cost no time where a learner is busy for longer. The order of rows does not change.

    Parameters
    ----------
    batches
        With the columns that :func:`tasks.hashing.store.make_batch` needs; see :func:`log_batches`
        and :func:`csv_batches`.
    contract
        What to hash, and how.
    n_ahead
        Batches that may wait for the caller, 1 or more; each is held in memory.

    Raises
    ------
    InputError
        As :func:`tasks.hashing.store.make_batch`, when the batch it happened in is reached.
    """
    if n_ahead < 1:
        raise ConfigError(f"n_ahead must be at least 1, got {n_ahead}")
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


def log_batches(
    log: Log, schema: Schema, *, start: int = 0, stop: int | None = None, batch_rows: int = 65_536
) -> Iterator[pa.RecordBatch]:
    """Yield the columns that hashing and learning need of rows `start` to `stop` of a log."""
    columns = [schema.label, schema.time_column, *schema.field_names]
    return log.batches(columns=columns, start=start, stop=stop, batch_rows=batch_rows)


def csv_batches(
    path: str | Path, schema: Schema, *, block_bytes: int = BLOCK_BYTES
) -> Iterator[pa.RecordBatch]:
    """Yield the columns that hashing and learning need of a CSV, a block at a time.

    Unlike ``ingest`` this sets no bad rows aside, looks for no duplicates and leaves rows in the
    order of the file.

    Raises
    ------
    InputError
        If the file cannot be read, a column is missing, or a line is no row; the message names it.
    """
    try:
        stream = Path(path).open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror})") from None
    with stream:
        for rows in read_csv(
            stream,
            str(path),
            find_layout=lambda header: _layout(header, str(path), schema),
            block_bytes=block_bytes,
        ):
            if rows.bad:
                bad = rows.bad[0]
                raise InputError(
                    f"{path}: line {bad.number} is no row ({bad.reason}); use `ingest`, which sets bad rows aside"
                )
            yield pa.RecordBatch.from_arrays(list(rows.columns.values()), list(rows.columns))


def _layout(header: list[str], file: str, schema: Schema) -> Layout:
    found = check_columns(header, file, schema, note=lambda _: None)
    wanted = {schema.label, schema.time_column, *schema.field_names}
    kept = {name: header.index(name) for name in found if name in wanted}
    return Layout(len(header), kept, plain=frozenset())
