"""Writing feature sets: a span of a log hashed into parts that survive a killed run."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tasks.hashing.contract import HashContract
from tasks.hashing.parts import Parts, runs
from tasks.logs.log import Log
from tasks.storage.progress import report


class Written(NamedTuple):
    """The result of :func:`write_features`."""

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
    progress: Callable[[int, int], None] = report,
) -> Written:
    """Hash a span of a log into `folder` and return what was done.

    Parameters
    ----------
    log
        The log to read.
    span
        Its first row and the one past its last.
    contract
        What to hash, and how.
    folder
        Where the feature set goes. Finished parts of the same plan are kept, those of another
        plan are removed.
    batch_rows
        Rows per part, which is also what is held in memory.
    progress
        Called after each part with the rows done and the total; by default the terminal or JupyterLab shows them.

    Raises
    ------
    InputError
        If a column is missing, a label is not 0 or 1, or the log holds fewer rows than its manifest states.
    DiskFullError
        If the disk is full; finished parts stay for the next run.
    """
    since = time.monotonic()
    parts = Parts(log, span, contract, folder, batch_rows)
    parts.begin()
    missing, n_rows = parts.missing(), sum(parts.sizes)
    n_done = n_rows - sum(parts.sizes[i] for i in missing)
    for first, last in runs(missing):
        for n_written in parts.write(first, last):
            n_done += n_written
            progress(n_done, n_rows)
    parts.finish()
    n_parts = len(parts.sizes)
    return Written(n_rows, n_parts, n_parts - len(missing), time.monotonic() - since)
