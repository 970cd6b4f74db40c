"""A container as processes of this machine: started, watched, stopped, with all that they start."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "CLICKLAB_REHEARSAL"
"""The variable by which all that a rehearsal started is known; its value is the rehearsal's folder."""

KILLED_FOR_MEMORY = "OutOfMemoryError: container killed due to memory usage"
_LOOK_S = 0.25


class Processes:
    """The processes of one container.

    Parameters
    ----------
    memory_mb
        What all together may hold; beyond it the largest is killed, as the kernel does in a container.
        This is simulated by looking every quarter of a second. None: nobody looks.
    say
        Called with each line they write.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        *,
        memory_mb: int | None,
        say: Callable[[str], None],
    ):
        self.memory_killed = False
        self._first = subprocess.Popen(
            list(command),
            cwd=folder,
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(say,), daemon=True)
        self._reader.start()
        if memory_mb is not None:
            threading.Thread(target=self._watch, args=(memory_mb << 20,), daemon=True).start()

    @property
    def is_running(self) -> bool:
        """Whether process 1 has not ended."""
        return self._first.poll() is None

    def wait(self) -> int:
        """Return the exit code, as ECS tells it, when process 1 has ended; what it left behind is ended."""
        code = self._first.wait()
        _kill_session(self._first.pid)
        self._reader.join(timeout=2)
        return code if code >= 0 else 128 - code

    def stop(self, grace_s: float) -> None:
        """Send SIGTERM to process 1, and SIGKILL to all when the time is over."""
        with suppress(ProcessLookupError):
            os.kill(self._first.pid, signal.SIGTERM)
        threading.Thread(target=self._end, args=(grace_s,), daemon=True).start()

    def kill(self) -> None:
        """End all at once."""
        for process in self._family():
            with suppress(psutil.Error):
                process.kill()

    def _end(self, grace_s: float) -> None:
        try:
            self._first.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def _family(self) -> list[psutil.Process]:
        try:
            first = psutil.Process(self._first.pid)
            return [*first.children(recursive=True), first]
        except psutil.NoSuchProcess:
            return []

    def _read(self, say: Callable[[str], None]) -> None:
        assert self._first.stdout is not None
        with self._first.stdout as lines:
            for line in lines:
                say(line.rstrip("\n"))

    def _watch(self, limit: int) -> None:
        while self.is_running:
            held = [(process, _resident(process)) for process in self._family()]
            if sum(size for _, size in held) > limit:
                self.memory_killed = True
                largest = max(held, key=lambda one: one[1])[0]
                with suppress(psutil.Error):
                    largest.kill()
            time.sleep(_LOOK_S)


def _resident(process: psutil.Process) -> int:
    """Return what a process holds by itself, in bytes; pages it shares with others are not counted twice."""
    try:
        found = process.memory_info()
    except psutil.Error:
        return 0
    return int(found.rss - found.shared)


def _kill_session(session: int) -> None:
    """End what still belongs to the session that process 1 led."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == session and process.pid != session:
                process.kill()
