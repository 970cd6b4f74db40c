"""Replaces a folder at once: the new one is built beside it, hidden, until it is complete."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.errors import ConfigError
from tasks.logs.intake.quarantine import QUARANTINE
from tasks.logs.log import MANIFEST

_PART_OF_A_LOG = rf"{MANIFEST}|{QUARANTINE}|day=.*|\..*\.metadata"  # the last: Ploomber's


def check_target(folder: Path) -> None:
    """Refuse to replace a folder that holds anything but a log."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; name a folder for the log")
    if folder.is_dir():
        foreign = [
            path.name for path in folder.iterdir() if not re.fullmatch(_PART_OF_A_LOG, path.name)
        ]
        if foreign:
            raise ConfigError(
                f"{folder}: holds {foreign[0]!r}, which is not part of a log; name a folder that may be replaced"
            )


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder beside the log, removed afterwards; leftovers of dead processes are removed first."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in [
        path
        for kind in ("partial", "replaced")
        for path in folder.parent.glob(f".{folder.name}.{kind}-*")
    ]:
        if not _is_alive(int(left.name.rsplit("-", 1)[1])):
            shutil.rmtree(left)
    work = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _is_alive(process: int) -> bool:
    if process == os.getpid():
        return False  # our own name, left by an earlier process with the same id
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def replace(folder: Path, work: Path) -> None:
    """Replace the old log by the new one; between the two steps there is none, but never a partial one."""
    old = folder.with_name(f".{folder.name}.replaced-{os.getpid()}")
    if folder.exists():
        folder.rename(old)
    work.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
