"""A container as processes of this machine: started, its memory watched, stopped with all its children."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "CLICKLAB_REHEARSAL"
"""The variable that marks every process of a rehearsal; its value is the rehearsal's folder."""

_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", MARK)
_POLL_S = 0.25


class Processes:
    """The processes of one container.

    Parameters
    ----------
    memory_mb
        What they may hold together; beyond it the largest is killed, as the kernel does in a container.
        It is polled four times a second; None: never.
    on_line
        Called with each line they write.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        *,
        memory_mb: int | None,
        on_line: Callable[[str], None],
    ):
        self.memory_killed = False
        self._main = subprocess.Popen(
            list(command),
            cwd=folder,
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(on_line,), daemon=True)
        self._reader.start()
        if memory_mb is not None:
            threading.Thread(target=self._watch, args=(memory_mb << 20,), daemon=True).start()

    @property
    def is_running(self) -> bool:
        """Whether process 1 has not ended."""
        return self._main.poll() is None

    def wait(self) -> int:
        """Return the exit code, as ECS reports it, once process 1 has ended; what it left behind is killed."""
        code = self._main.wait()
        for process in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError):
                if os.getsid(process.pid) == self._main.pid != process.pid:
                    process.kill()
        self._reader.join(timeout=2)
        return code if code >= 0 else 128 - code

    def stop(self, grace_s: float) -> None:
        """Send SIGTERM to process 1, and SIGKILL to all after the grace period."""
        with suppress(ProcessLookupError):
            os.kill(self._main.pid, signal.SIGTERM)
        threading.Thread(target=self._kill_after, args=(grace_s,), daemon=True).start()

    def kill(self) -> None:
        """Kill all at once."""
        for process in self._tree():
            with suppress(psutil.Error):
                process.kill()

    def _kill_after(self, grace_s: float) -> None:
        try:
            self._main.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def _tree(self) -> list[psutil.Process]:
        try:
            main = psutil.Process(self._main.pid)
            return [*main.children(recursive=True), main]
        except psutil.NoSuchProcess:
            return []

    def _read(self, on_line: Callable[[str], None]) -> None:
        assert self._main.stdout is not None
        with self._main.stdout as lines:
            for line in lines:
                on_line(line.rstrip("\n"))

    def _watch(self, limit: int) -> None:
        while self.is_running:
            with suppress(psutil.Error):  # one has just ended
                held = {process: _private_bytes(process) for process in self._tree()}
                if sum(held.values()) > limit:
                    self.memory_killed = True
                    max(held, key=held.__getitem__).kill()
            time.sleep(_POLL_S)


def _private_bytes(process: psutil.Process) -> int:
    """Return what a process holds by itself; shared pages would count twice."""
    found = process.memory_info()
    return int(found.rss - found.shared)


def basic_variables(code: Path, disk: Path, cache: Path) -> dict[str, str]:
    """Return a container's basic environment.

    Parameters
    ----------
    code
        Where modules are imported from; the same for all containers of an image, so that compiled kernels are reused.
    disk
        The container's own folder.
    cache
        Keeps what Numba and Matplotlib compile.
    """
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return inherited | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "HOME": str(disk),
        "TMPDIR": str(disk / "tmp"),
        "BENTOML_HOME": str(disk / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "PLOOMBER_STATS_ENABLED": "false",
        "GIT_PYTHON_REFRESH": "quiet",
        "MPLCONFIGDIR": str(cache / "matplotlib"),
        "NUMBA_CACHE_DIR": str(cache / "numba"),
        "PYTHONPATH": f"{code}{os.pathsep}{disk}",
        "PYTHONSAFEPATH": "1",
        "COLUMNS": "400",  # programs break lines, and paths are longer here than in a container
    }
