"""Servers of the contestants: one worker each on a free port of 127.0.0.1, stopped when the block ends."""

import os
import re
import signal
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import psutil

from tasks.errors import ClicklabError

START_S, STOP_S = 120, 20
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{.*\})? (\S+)$", re.M)


@dataclass(frozen=True)
class Memory:
    """Memory of all processes of a server; shared pages count once per process in RSS, once in PSS."""

    rss_bytes: int
    pss_bytes: int


@dataclass(frozen=True)
class Server:
    """A running server."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def request(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Return status and body of a response; URLError if there is none."""
        url = f"http://127.0.0.1:{self.port}{path}"
        try:
            with urlopen(
                Request(url, body, {"Content-Type": "application/json"}), timeout=20
            ) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            with error:
                return error.code, error.read()

    def metrics(self) -> dict[str, float]:
        """Return the metrics, summed over their labels."""
        sums: dict[str, float] = defaultdict(float)
        for name, value in _SAMPLE.findall(self.request("/metrics")[1].decode()):
            sums[name] += float(value)
        return dict(sums)

    def memory(self) -> Memory:
        """Return the memory that supervisor and workers hold now."""
        rss = pss = 0
        for process in self.processes():
            try:
                info = process.memory_full_info()
            except psutil.NoSuchProcess:
                continue
            rss, pss = rss + info.rss, pss + getattr(info, "pss", 0)
        return Memory(rss, pss)

    def cpu_s(self) -> float:
        """Return the processor time that supervisor and workers have used."""
        times = [process.cpu_times() for process in self.processes()]
        return sum(used.user + used.system for used in times)

    def processes(self) -> list[psutil.Process]:
        """Return the server's processes, the parent first."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def error(self, what: str) -> ClicklabError:
        """Return an error that ends with the last line of the server's log."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return ClicklabError(f"bench: {what}: {lines[-1].strip() if lines else 'no output'}")


def free_port() -> int:
    """Return an unused port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    command: list[str], *, port: int, log: Path, first_body: bytes, environment: Mapping[str, str]
) -> Iterator[Server]:
    """Yield the server that a command starts, once it answers `first_body` on ``/predict``.

    Raises
    ------
    ClicklabError
        If it does not answer within two minutes; the message ends with the last line of its log.
    """
    env = os.environ | {"BENTOML_DO_NOT_TRACK": "True"} | dict(environment)
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=log.parent, env=env, stdout=out, stderr=out, start_new_session=True
        )
    server = Server(port, process, log)
    try:
        _wait(server, first_body)
        yield server
    finally:
        stop(server)


def _wait(server: Server, first_body: bytes) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            if server.request("/predict", first_body)[0] == 200:
                return
        except (URLError, OSError):
            pass
        time.sleep(0.2)
    raise server.error(f"{server.log.stem} does not serve")


def stop(server: Server) -> None:
    """Stop a server with SIGTERM; processes that are left after 20 s are killed."""
    if server.process.poll() is not None:
        return
    processes = server.processes()
    os.killpg(server.process.pid, signal.SIGTERM)
    for process in psutil.wait_procs(processes, timeout=STOP_S)[1]:
        process.kill()
    server.process.wait()
