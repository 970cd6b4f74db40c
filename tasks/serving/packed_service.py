"""Requests predictions from a packed service: in a process of its own, and live over HTTP.

Both get exactly the same requests. Whatever the caller's environment holds, the service serves only
the model packed with it, logs no exposures, needs no key, and leaves other services' metrics alone.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from tasks.errors import ClicklabError
from tasks.serving.bento_store import bento_home

Requests = Sequence[tuple[str, Any]]  # path, what is posted there as JSON
Answers = list[tuple[int, Any]]  # status, the JSON that came back
HOST = "127.0.0.1"
SERVICE = "bentos.ctr.service:Ctr"
_SETTINGS: dict[str, Any] = {  # JSON is YAML
    "serving.yaml": {
        "models": {"champion": {"from": "bundle"}},
        "experiment": "experiment.yaml",
        "exposures": {"sink": "off"},
    },
    "experiment.yaml": {
        "name": "proof",
        "salt": "proof",
        "unit": [],
        "variants": [{"name": "champion", "weight": 1, "model": "champion"}],
    },
}
_START_S, _UNREADY_S, _STOP_S = 60.0, 10.0, 10.0
_PORTS, _PORT_TRIES = range(20_000, 32_768), 100


@contextmanager
def isolated(folder: Path) -> Iterator[dict[str, str]]:
    """Yield environment variables that limit a service to the code and model of its folder."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BENTOML_", "CLICKLAB_", "PROMETHEUS_", "OTEL_"))
    }
    with tempfile.TemporaryDirectory(prefix="clicklab-proof-") as home:
        for name, content in _SETTINGS.items():
            (Path(home) / name).write_text(json.dumps(content))
        yield kept | {
            "PYTHONPATH": str(folder),
            "CLICKLAB_SERVING": str(Path(home) / "serving.yaml"),
            "BENTOML_HOME": home,  # `bentoml serve` deletes the metrics of services that share it
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_CONFIG_OPTIONS": "services.ctr.workers=1",  # all workers are alike
            "PROMETHEUS_MULTIPROC_DIR": home,
        }


def ask_in_process(folder: Path, requests: Requests, environment: Mapping[str, str]) -> Answers:
    """Return the answers of the service of a folder, without a server.

    Raises
    ------
    ClicklabError
        If the service cannot be loaded.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "bentos.ctr.in_process"],
        cwd=folder,
        env=dict(environment),
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return [(status, answer) for status, answer in json.loads(done.stdout.splitlines()[-1])]
    except (IndexError, ValueError, TypeError):
        killed = f"killed by signal {-done.returncode}: " if done.returncode < 0 else ""
        reason = f"{killed}{last_lines(done.stderr)}"
        raise ClicklabError(f"the service cannot be loaded ({reason})") from None


class Server:
    """``bentoml serve`` on a free port of this machine, from the folder of a packed service."""

    def __init__(self, folder: Path, environment: Mapping[str, str]):
        self.port = free_port()
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed by `stop`
        words = ("serve", SERVICE, "--host", HOST, "--port", str(self.port))
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "bentoml", *words],
            cwd=folder,
            env=dict(environment),
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait_until_ready(self) -> None:
        """Return as soon as the service is ready; ClicklabError if it does not become ready."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(OSError, HTTPException):
                status = self._get("/readyz")[0]
                if status == 200:
                    return
                deadline = min(deadline, time.monotonic() + _UNREADY_S)
            time.sleep(0.05)
        raise ClicklabError(f"the service does not become ready ({self._reason()})")

    def ask(self, requests: Requests) -> Answers:
        """Return the live answers, over one connection.

        Raises
        ------
        ClicklabError
            If the service stops or closes the connection.
        """
        connection = HTTPConnection(HOST, self.port, timeout=20)
        try:
            return [_post(connection, path, body) for path, body in requests]
        except (OSError, HTTPException, ValueError) as error:
            raise ClicklabError(
                f"the live service gives no answer ({error!r}; {self._reason()})"
            ) from None
        finally:
            connection.close()

    def stop(self) -> None:
        """End the service and all its processes."""
        import psutil  # BentoML needs it too

        with suppress(psutil.NoSuchProcess):
            workers = psutil.Process(self.process.pid).children(recursive=True)
            self.process.send_signal(signal.SIGTERM)
            _, alive = psutil.wait_procs([self.process, *workers], timeout=_STOP_S)
            for process in alive:
                process.kill()
        self.process.wait()
        self._log.close()

    def _get(self, path: str) -> tuple[int, str]:
        connection = HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def _reason(self) -> str:
        with suppress(OSError, HTTPException, ValueError, KeyError, TypeError):
            return str(json.loads(self._get("/healthcheck")[1])["error"])
        self._log.seek(0)
        return last_lines(self._log.read(), 4)  # BentoML puts hints after the reason


@contextmanager
def serving(folder: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """Yield the service of a folder as a process that may still be starting; it ends with the block."""
    server = Server(folder, environment)
    try:
        yield server
    finally:
        server.stop()


def ask_bentoml(*words: str) -> str:
    """Return the output of a BentoML command; ClicklabError with its last line if it fails."""
    command = [sys.executable, "-W", "ignore", "-m", "bentoml", *words]
    wide = os.environ | {
        "COLUMNS": "10000",
        "BENTOML_HOME": str(bento_home()),
    }  # its printer breaks lines
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=wide)
    if done.returncode != 0:
        last = last_lines(done.stderr or done.stdout)
        raise ClicklabError(f"bentoml {words[0]} failed: {last}")
    return done.stdout


def _post(connection: HTTPConnection, path: str, body: Any) -> tuple[int, Any]:
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def free_port() -> int:
    """Return a port of this machine that nothing listens on.

    It lies below the range that systems give to outgoing connections (from 32768 on Linux, 49152 elsewhere), so
    none of those takes it before the server that is told to use it has started.
    """
    for _ in range(_PORT_TRIES):
        port = secrets.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port
    raise ClicklabError(f"{_PORT_TRIES} ports of {HOST} tried and none is free")


def last_lines(text: str, n_lines: int = 1) -> str:
    """Return the last lines that are not blank, as one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[-n_lines:]) or "no reason given"
