"""The process that runs a task: started, followed, and ended with its children."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

GRACE_S = 20.0  # for the task to end by itself, CLICKLAB_GRACE_S; ECS gives 120 s for all


class TaskProcess:
    """:mod:`infra.container.fetch_and_run` in a session of its own.

    Parameters
    ----------
    task
        The task's name.
    report
        The file in which it reports its progress.
    pass_on
        Called with each line that it prints, in another thread.
    """

    def __init__(self, task: str, report: Path, pass_on: Callable[[str], None]):
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "infra.container.fetch_and_run",
                task,
                str(report),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        self._reader = threading.Thread(target=self._read, args=(pass_on,), daemon=True)
        self._reader.start()

    def _read(self, pass_on: Callable[[str], None]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            pass_on(line)

    def is_running(self) -> bool:
        """Return whether it has not ended yet."""
        return self._process.poll() is None

    def wait(self) -> int:
        """Return its exit code when it has ended and its last lines were passed on; 128 and the signal if one ended it."""
        code = self._process.wait()
        self._reader.join(timeout=2)
        return code if code >= 0 else 128 - code

    def stop(self) -> None:
        """Ask it to end, then end it and the kernel it started, which has a session of its own."""
        import psutil

        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.terminate()
        try:
            self._process.wait(timeout=seconds("CLICKLAB_GRACE_S", GRACE_S))
        except subprocess.TimeoutExpired:
            self._process.kill()
        for child in children:
            if child.is_running():
                child.kill()
        psutil.wait_procs(children, timeout=5)


def seconds(name: str, usual: float) -> float:
    """Return the seconds that a variable holds, or the usual number."""
    try:
        return float(os.environ.get(name) or usual)
    except ValueError:
        return usual
