"""Locks between processes of one machine."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SQLITE = "sqlite:///"


@contextmanager
def file_lock(path: str | Path) -> Iterator[None]:
    """Hold the lock of a file while the block runs; the lock is a hidden file beside it, which stays."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def sqlite_lock(address: str | None) -> Iterator[None]:
    """Hold the lock of the file behind a ``sqlite:///`` address; any other address needs none.

    MLflow and Optuna create the tables of a new file on first use, and two processes that do so at
    once leave it broken.
    """
    if address is None or not address.startswith(_SQLITE):
        yield
        return
    with file_lock(address.removeprefix(_SQLITE)):
        yield
