"""Files that are still being written: locked while their writer lives, so that an orphan is known.

A lock, unlike a process id, is never another's after a restart, and counts across containers that
share a disk.
"""

import fcntl
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

SUFFIX = ".jsonl.part"
_FLAGS = os.O_RDWR | os.O_APPEND


class Part:
    """A file of lines under a ``.part`` name, open and locked; :meth:`release` lets go of it.

    Attributes
    ----------
    path, stem, day
        Where it is; its name without suffix; the day it was begun, as 2026-03-01.
    n_bytes, started
        What was written; when, in monotonic seconds.
    """

    def __init__(self, path: Path, descriptor: int):
        stat = os.fstat(descriptor)
        self.path, self.stem = path, path.name.removesuffix(SUFFIX)
        self.n_bytes, self.started = stat.st_size, time.monotonic()
        self.day = datetime.fromtimestamp(stat.st_mtime, UTC).date().isoformat()
        self._descriptor = descriptor

    def append(self, data: bytes) -> None:
        """Add whole lines; OSError leaves the file as it was before."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.n_bytes)
            raise
        self.n_bytes += len(data)

    def sync(self) -> None:
        """Wait until the disk holds what was written."""
        os.fsync(self._descriptor)

    def release(self) -> None:
        """Close the file; from now on others may take it for an orphan if it is still there."""
        os.close(self._descriptor)


class PartNames:
    """Names that no other process, machine or start gives: host, process, start, number."""

    def __init__(self) -> None:
        host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:64]
        start = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        self._prefix, self._number = f"{host}-{os.getpid()}-{start}", 0

    def next(self) -> str:
        """Return another name, without suffix."""
        self._number += 1
        return f"{self._prefix}-{self._number:06}"


def create_part(folder: Path, names: PartNames) -> Part:
    """Return a new, empty part in a folder, which is made if it is not there; OSError if it cannot be."""
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        path = folder / f"{names.next()}{SUFFIX}"
        part = _lock(os.open(path, os.O_CREAT | os.O_EXCL | _FLAGS, 0o640), path)
        if part is not None:  # else another process took it for an orphan before it was locked
            return part


def take_orphans(folder: Path) -> Iterator[Part]:
    """Yield, locked, the parts whose writers are gone."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with suppress(OSError):
            part = _lock(os.open(path, _FLAGS), path)
            if part is not None:
                yield part


def _lock(descriptor: int, path: Path) -> Part | None:
    """Return the part, None if its writer lives or it is no longer there; OSError if locks do not work."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            return Part(path, descriptor)
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
