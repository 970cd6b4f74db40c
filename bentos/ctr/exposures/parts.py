"""Files still being written: locked while their writer lives, so that orphans can be recognized.

Unlike a process id, a lock cannot be reused after a restart, and it works across containers that
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
    """A file of lines under a ``.part`` name, open and locked; :meth:`release` closes it.

    Attributes
    ----------
    path, stem, day
        Its path; its name without suffix; the day it was started, as 2026-03-01.
    n_bytes, started
        Bytes written; start time in monotonic seconds.
    """

    def __init__(self, path: Path, descriptor: int):
        stat = os.fstat(descriptor)
        self.path, self.stem = path, path.name.removesuffix(SUFFIX)
        self.n_bytes, self.started = stat.st_size, time.monotonic()
        self.day = datetime.fromtimestamp(stat.st_mtime, UTC).date().isoformat()
        self._descriptor = descriptor

    def append(self, data: bytes) -> None:
        """Append complete lines; an OSError leaves the file unchanged."""
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
        """Wait until everything written is on disk."""
        os.fsync(self._descriptor)

    def release(self) -> None:
        """Close the file; from now on other processes treat it as an orphan if it still exists."""
        os.close(self._descriptor)


class PartNames:
    """Names unique across machines, processes and starts: host, process, start, number."""

    def __init__(self) -> None:
        host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:64]
        start = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        self._prefix, self._number = f"{host}-{os.getpid()}-{start}", 0

    def next(self) -> str:
        """Return another name, without suffix."""
        self._number += 1
        return f"{self._prefix}-{self._number:06}"


def create_part(folder: Path, names: PartNames) -> Part:
    """Return a new, empty part in a folder, which is created if needed; OSError if that fails."""
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        path = folder / f"{names.next()}{SUFFIX}"
        part = _lock(os.open(path, os.O_CREAT | os.O_EXCL | _FLAGS, 0o640), path)
        if part is not None:  # otherwise another process took it for an orphan before it was locked
            return part


def take_orphans(folder: Path) -> Iterator[Part]:
    """Yield, locked, the parts whose writers have died."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with suppress(OSError):
            part = _lock(os.open(path, _FLAGS), path)
            if part is not None:
                yield part


def _lock(descriptor: int, path: Path) -> Part | None:
    """Return the part, None if its writer lives or it no longer exists; OSError if locking fails."""
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
