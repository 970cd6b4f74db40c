"""Atomic writes: a reader finds the old content or the new one, never a partial file."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tasks.errors import disk_errors


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Write a file, whole or not at all; missing parent folders are created.

    Raises
    ------
    DiskFullError
        If the disk is full.
    """
    with open_atomic(path) as handle:
        handle.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def open_atomic(path: str | Path) -> Iterator[BinaryIO]:
    """Yield a file that replaces `path` once it is complete; otherwise as :func:`write_atomic`."""
    path = Path(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=".partial"
        )
        try:
            with os.fdopen(descriptor, "wb") as handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
