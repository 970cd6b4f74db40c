"""A child process, measured as a whole and bounded in time."""

import os
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tasks.errors import ClicklabError

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Whole:
    """What a process cost from start to end: imports and all."""

    wall_s: float
    cpu_s: float


def run_child(command: list[str], *, name: str, timeout_s: float) -> Whole:
    """Run a command in the project's folder to its end and return what it cost.

    Raises
    ------
    ClicklabError
        If it fails (with the last line of what it said) or takes longer than `timeout_s`.
    """
    late = threading.Event()
    with tempfile.TemporaryFile() as said:
        since = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(timeout_s, stop)
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        finally:
            timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.perf_counter() - since
        if late.is_set():
            raise ClicklabError(f"bench: {name} was stopped after {timeout_s:.0f} s")
        if process.returncode:
            raise ClicklabError(f"bench: {name} failed: {_last_line(said, process.returncode)}")
    return Whole(wall_s, usage.ru_utime + usage.ru_stime)


def _last_line(said: IO[bytes], code: int) -> str:
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else f"it ended with {code} and said nothing"
