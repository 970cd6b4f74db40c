"""A child process with a time limit, measured from start to exit."""

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
class ProcessCost:
    """Wall-clock and processor time of a whole process, imports included."""

    wall_s: float
    cpu_s: float


def run_child(command: list[str], *, name: str, timeout_s: float) -> ProcessCost:
    """Run a command in the project folder and return its cost.

    Raises
    ------
    ClicklabError
        If it fails (the message ends with the last line of its output) or exceeds `timeout_s`.
    """
    timed_out = threading.Event()
    with tempfile.TemporaryFile() as output:
        since = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)

        def stop() -> None:
            timed_out.set()
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
        if timed_out.is_set():
            raise ClicklabError(f"bench: {name} was stopped after {timeout_s:.0f} s")
        if process.returncode:
            raise ClicklabError(f"bench: {name} failed: {_last_line(output, process.returncode)}")
    return ProcessCost(wall_s, usage.ru_utime + usage.ru_stime)


def _last_line(output: IO[bytes], code: int) -> str:
    output.seek(0)
    lines = output.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else f"exit code {code}, no output"
