"""Cleans up after a killed rehearsal: ``python -m tests.rehearsal.guard FOLDER``.

It reads standard input, which the rehearsal holds open. The word ``done`` says that everything was ended in order; the end
of the input without it, that the rehearsal is gone. Then every process with its mark is killed, and its folders are removed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

import psutil

from tests.rehearsal.processes import MARK

_GRACE_S = 5.0
_IN_ORDER = b"done"


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """End whatever was started inside, at the end or, by a process of its own, should this one be killed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-W", "ignore", "-m", "tests.rehearsal.guard", str(folder)]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        with patch.dict(os.environ, {MARK: str(folder)}):
            yield
    finally:
        _end_all(folder)
        with suppress(BrokenPipeError):
            guard.communicate(_IN_ORDER)


def outside(mark: str) -> str:
    """Return how the names of a rehearsal's folders begin that lie directly in the temporary folder."""
    return f"clicklab-{zlib.crc32(mark.encode()):08x}-"


def marked(folder: Path) -> list[psutil.Process]:
    """Return the processes that a rehearsal in this folder started, and their children."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == str(folder):
                found.append(process)
    return found


def _end_all(folder: Path) -> None:
    found = marked(folder)
    for process in found:
        with suppress(psutil.Error):
            process.terminate()
    psutil.wait_procs(found, timeout=_GRACE_S)
    for process in marked(folder):
        with suppress(psutil.Error):
            process.kill()


def _clean_up(folder: Path) -> None:
    _end_all(folder)
    for one in [*Path(tempfile.gettempdir()).glob(f"{outside(str(folder))}*"), folder]:
        shutil.rmtree(one, ignore_errors=True)


if __name__ == "__main__" and sys.stdin.buffer.read() != _IN_ORDER:
    _clean_up(Path(sys.argv[1]))
