"""Clears up after a rehearsal that was killed: ``python -m tests.rehearsal.guard FOLDER``.

It reads standard input, which the rehearsal holds open. The word ``done`` says that everything was ended in order; the end
of the input without it, that the rehearsal is gone. Then every process with its mark is killed, podman's containers and
layers with it are removed, and so is its folder.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

import psutil

from tests.rehearsal.podman import PROGRAM, remove_all
from tests.rehearsal.processes import MARK

_OUTSIDE = "outside"
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
        end_all(folder)
        with suppress(BrokenPipeError):
            guard.communicate(_IN_ORDER)


def also_remove(folder: Path, outside: Path) -> None:
    """Let a folder that lies elsewhere be removed together with the rehearsal's."""
    (folder / _OUTSIDE).mkdir(parents=True, exist_ok=True)
    (folder / _OUTSIDE / outside.name).symlink_to(outside)


def end_all(folder: Path) -> None:
    """End every process with the folder's mark, and remove podman's containers and layers with it."""
    found = marked(folder)
    for process in found:
        with suppress(psutil.Error):
            process.terminate()
    psutil.wait_procs(found, timeout=_GRACE_S)
    for process in marked(folder):
        with suppress(psutil.Error):
            process.kill()
    if shutil.which(PROGRAM):
        remove_all(str(folder))


def marked(folder: Path) -> list[psutil.Process]:
    """Return the processes that a rehearsal in this folder started, and their children."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == str(folder):
                found.append(process)
    return found


def _clear_up(folder: Path) -> None:
    end_all(folder)
    for link in folder.rglob(f"{_OUTSIDE}/*"):
        shutil.rmtree(link.resolve(), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # it may hold something else
        folder.parent.rmdir()


if __name__ == "__main__" and sys.stdin.buffer.read() != _IN_ORDER:
    _clear_up(Path(sys.argv[1]))
