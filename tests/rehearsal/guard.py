"""Whoever clears up after a rehearsal that was killed: ``python -m tests.rehearsal.guard FOLDER [podman]``.

It reads its standard input, which the rehearsal holds open. A word there says that all was ended in order; an end
without it, that the rehearsal is gone: then every process that bears its mark is ended, podman's containers and
layers with it if there were any, and its folder removed.
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

from tests.rehearsal.podman import remove_all
from tests.rehearsal.processes import MARK

ELSEWHERE = "elsewhere"
"""Links below the folder to folders that are its own, though they lie elsewhere."""

_GRACE_S = 5.0
_IN_ORDER = b"done"
_PODMAN = "podman"


@contextmanager
def guarded(folder: Path, *, has_podman: bool = False) -> Iterator[None]:
    """End at its end whatever was started meanwhile; a process of its own does so should this one be killed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-W", "ignore", "-m", "tests.rehearsal.guard", str(folder)]
    command += [_PODMAN] if has_podman else []
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        with patch.dict(os.environ, {MARK: str(folder)}):
            yield
    finally:
        end_all(folder, has_podman=has_podman)
        with suppress(BrokenPipeError):
            guard.communicate(_IN_ORDER)


def is_elsewhere(folder: Path, place: Path) -> None:
    """Note that a place outside the folder is to go with it."""
    (folder / ELSEWHERE).mkdir(parents=True, exist_ok=True)
    (folder / ELSEWHERE / place.name).symlink_to(place)


def clear_up(folder: Path, *, has_podman: bool) -> None:
    """End what is left of a rehearsal, and remove its folder."""
    end_all(folder, has_podman=has_podman)
    for link in folder.rglob(f"{ELSEWHERE}/*"):
        shutil.rmtree(link.resolve(), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # others' things may lie there
        folder.parent.rmdir()


def end_all(folder: Path, *, has_podman: bool) -> None:
    """End every process that bears the folder's mark, in containers too, and remove what podman has of it."""
    end_marked(folder)
    if has_podman:
        remove_all(str(folder))


def end_marked(folder: Path) -> None:
    """End every process that bears the folder's mark."""
    found = marked(folder)
    for process in found:
        with suppress(psutil.Error):
            process.terminate()
    psutil.wait_procs(found, timeout=_GRACE_S)
    for process in marked(folder):
        with suppress(psutil.Error):
            process.kill()


def marked(folder: Path) -> list[psutil.Process]:
    """Return the processes that a rehearsal in this folder started, and theirs."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == str(folder):
                found.append(process)
    return found


if __name__ == "__main__":
    if sys.stdin.buffer.read() != _IN_ORDER:
        clear_up(Path(sys.argv[1]), has_podman=_PODMAN in sys.argv[2:])
