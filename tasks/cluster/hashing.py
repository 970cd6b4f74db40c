"""A span of a log hashed by the workers of a cluster, part by part, into the bytes one process writes.

Log and feature set lie on storage that client and workers share under the same path. A worker that
dies loses the parts it was at; Dask gives them to another, and a part is whole or not there at all.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.errors import InputError
from tasks.hashing import store
from tasks.hashing.contract import HashContract
from tasks.hashing.store import Written, make_batch, write_features
from tasks.log import Log

_TASKS_PER_WORKER, _MAX_PARTS = 4, 32  # few enough to cost nothing, enough for an even load


def write_features_on(
    client: Any,
    log: Log,
    span: tuple[int, int],
    contract: HashContract,
    folder: str | Path,
    batch_rows: int = 65_536,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Hash a span of a log into `folder` on a cluster, and say what was done.

    Files, resuming and arguments are those of :func:`tasks.hashing.store.write_features`; a set that
    one of them began the other goes on with.

    Parameters
    ----------
    client
        A Dask client; None for this process.

    Raises
    ------
    InputError
        As ``write_features``; or if the workers see another log, or write where the client does not
        look.
    """
    if client is None:
        return write_features(log, span, contract, folder, batch_rows, progress=progress)
    since = time.monotonic()
    folder, log_folder = Path(folder).resolve(), str(log.folder.resolve())
    plan, digest = _plan(log, span, contract, batch_rows)
    store._prepare(folder, plan)
    start, stop = span
    sizes = [min(batch_rows, stop - begin) for begin in range(start, stop, batch_rows)]
    lacking = [
        i
        for i, size in enumerate(sizes)
        if not store._is_finished(store._part(folder, i), digest, size)
    ]
    n_done = sum(sizes) - sum(sizes[i] for i in lacking)
    runs = list(_chunks(lacking, _TASKS_PER_WORKER * len(client.nthreads())))
    for n_rows in _in_any_order(client, _hash_parts, (log_folder, plan, digest, str(folder)), runs):
        n_done += n_rows
        if progress is not None:
            progress(n_done, sum(sizes))
    for path in folder.glob(".part-*.partial"):  # left by a killed worker
        path.unlink()
    for i, size in enumerate(sizes):
        if not store._is_finished(store._part(folder, i), digest, size):
            raise InputError(
                f"{store._part(folder, i)}: written by a worker, but not to be seen here; "
                "log and features must lie on storage that all machines share"
            )
    store._finish(
        folder, {**plan, "digest": digest, "source": log.manifest.get("source", "")}, sizes
    )
    return Written(sum(sizes), len(sizes), len(sizes) - len(lacking), time.monotonic() - since)


def _plan(
    log: Log, span: tuple[int, int], contract: HashContract, batch_rows: int
) -> tuple[dict[str, Any], str]:
    """Return the plan and its digest exactly as ``write_features`` makes them."""
    start, stop = span
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
    return plan, hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:16]


def _chunks(numbers: Sequence[int], n_chunks: int) -> Iterator[tuple[int, int]]:
    """Yield first and one past last of runs of consecutive numbers, each short enough for one task."""
    n_most = min(max(1, -(-len(numbers) // n_chunks)), _MAX_PARTS)
    for first, last in store._runs(numbers):
        for begin in range(first, last, n_most):
            yield begin, min(begin + n_most, last)


def _in_any_order(
    client: Any, work: Callable[..., Any], shared: tuple[Any, ...], runs: Sequence[tuple[int, int]]
) -> Iterator[Any]:
    """Yield what each task returns as soon as it does; the first error cancels those to come."""
    from dask.distributed import as_completed

    futures = [client.submit(work, *shared, *run, pure=False) for run in runs]
    try:
        for future in as_completed(futures):
            yield future.result()
            future.release()
    finally:
        client.cancel(futures)


def _hash_parts(
    log_folder: str, plan: Mapping[str, Any], digest: str, folder: str, first: int, last: int
) -> int:
    """On a worker: write parts `first` to `last` (exclusive) and return their rows."""
    log, contract = Log.open(log_folder), HashContract.from_dict(plan["contract"])
    if log.digest != plan["log_digest"]:
        raise InputError(
            f"{log_folder}: a worker sees another log here than the client; share one storage"
        )
    (start, stop), batch_rows = plan["span"], plan["batch_rows"]
    span = start + first * batch_rows, min(start + last * batch_rows, stop)
    columns = [contract.schema["label"], contract.time_column, *contract.fields]
    n_rows = 0
    for i, table in enumerate(store._tables(log, columns, batch_rows, span), start=first):
        store._write_part(store._part(Path(folder), i), make_batch(table, contract), digest)
        n_rows += table.num_rows
    return n_rows
