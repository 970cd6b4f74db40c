"""The process that runs a task: started, followed, and ended with its children."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

GRACE_S = 20.0  # for the task to end by itself (CLICKLAB_GRACE_S); ECS allows 120 s in total


class TaskProcess:
    """:mod:`infra.container.fetch_and_run` in its own session.

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
        """Return the exit code once it has ended and its last lines are forwarded; 128 plus the signal that ended it."""
        code = self._process.wait()
        self._reader.join(timeout=2)
        return code if code >= 0 else 128 - code

    def stop(self) -> None:
        """Ask it to end, then kill it and its kernel, which has its own session."""
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


def seconds(name: str, default: float) -> float:
    """Return the seconds set by an environment variable, or the default."""
    try:
        return float(os.environ.get(name) or default)
    except ValueError:
        return default
