"""A span of a log hashed by the workers of a cluster, part by part, to the same bytes as in one process.

Log and feature set lie on storage that client and workers share under the same path. When a worker
dies, Dask reassigns its parts; a part is either complete or absent.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.errors import InputError
from tasks.hashing.contract import HashContract
from tasks.hashing.parts import Parts, runs
from tasks.hashing.store import Written
from tasks.logs.log import Log
from tasks.storage.progress import report

_TASKS_PER_WORKER, _MAX_PARTS = 4, 32  # few enough for little overhead, enough for an even load


def write_features_on(
    client: Any,
    log: Log,
    span: tuple[int, int],
    contract: HashContract,
    folder: str | Path,
    batch_rows: int = 65_536,
    *,
    progress: Callable[[int, int], None] = report,
) -> Written:
    """Hash a span of a log into `folder` on a cluster, and return counts of rows and parts.

    Files, resuming and arguments are those of :func:`tasks.hashing.store.write_features`; either function
    resumes a set that the other began.

    Parameters
    ----------
    client
        A Dask client.

    Raises
    ------
    InputError
        As ``write_features``; or if the workers see another log, or their files are not visible here.
    """
    since = time.monotonic()
    folder, log_folder = Path(folder).resolve(), str(log.folder.resolve())
    parts = Parts(log, span, contract, folder, batch_rows)
    parts.begin()
    lacking, n_rows = parts.missing(), sum(parts.sizes)
    n_done = n_rows - sum(parts.sizes[i] for i in lacking)
    shared = log_folder, span, contract.to_dict(), str(folder), batch_rows, parts.digest
    chunks = list(_chunks(lacking, _TASKS_PER_WORKER * len(client.nthreads())))
    for n_written in _in_any_order(client, _hash_parts, shared, chunks):
        n_done += n_written
        progress(n_done, n_rows)
    parts.remove_partial()  # by a worker that was killed
    if unseen := parts.missing():
        raise InputError(
            f"{parts.path(unseen[0])}: written by a worker, but not visible here; "
            "log and features must lie on storage that all machines share"
        )
    parts.finish()
    n_parts = len(parts.sizes)
    return Written(n_rows, n_parts, n_parts - len(lacking), time.monotonic() - since)


def _chunks(numbers: Sequence[int], n_chunks: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds (end exclusive) of runs of consecutive numbers, each short enough for one task."""
    max_parts = min(max(1, -(-len(numbers) // n_chunks)), _MAX_PARTS)
    for first, last in runs(numbers):
        for begin in range(first, last, max_parts):
            yield begin, min(begin + max_parts, last)


def _in_any_order(
    client: Any, work: Callable[..., Any], shared: tuple[Any, ...], runs: Sequence[tuple[int, int]]
) -> Iterator[Any]:
    """Yield results in order of completion; the first error cancels the remaining tasks."""
    from dask.distributed import as_completed

    futures = [client.submit(work, *shared, *run, pure=False) for run in runs]
    try:
        for future in as_completed(futures):
            yield future.result()
            future.release()
    finally:
        client.cancel(futures)


def _hash_parts(
    log_folder: str,
    span: tuple[int, int],
    contract: Mapping[str, Any],
    folder: str,
    batch_rows: int,
    digest: str,
    first: int,
    last: int,
) -> int:
    """On a worker: write parts `first` to `last` (exclusive) and return their rows."""
    log = Log.open(log_folder)
    if log.n_rows >= span[1]:
        parts = Parts(log, span, HashContract.from_dict(contract), folder, batch_rows)
        if parts.digest == digest:
            return sum(parts.write(first, last))
    raise InputError(
        f"{log_folder}: a worker sees another log here than the client; share one storage"
    )
