"""Locks between processes of one machine."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def file_lock(path: str | Path) -> Iterator[None]:
    """Hold the lock of a file while the block runs; the lock is a hidden file beside it, which stays."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def lock_or_holder(path: str | Path) -> Iterator[int | None]:
    """Yield None and hold the lock of a file while the block runs; if another process holds it, yield its id (0: unknown).

    A process that is forked meanwhile holds the lock, too, until it ends.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f".{path.name}.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            said = lock.read(20)
            yield int(said) if said.isdigit() else 0
            return
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield None
