"""Real servers on free ports of this machine: MLflow and S3."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from tests.conftest import free_port, stop_group

# Invalid credentials, and a client that does not retry.
IMPATIENT_AWS = {
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
}


@contextmanager
def mlflow_server(
    folder: Path, *, port: int | None = None, hosts: str = "127.0.0.1:*"
) -> Iterator[str]:
    """Run MLflow on the store in `folder`, created if missing; yield its address.

    The server accepts only requests whose Host header matches `hosts`.
    """
    port = port or free_port()
    folder.mkdir(parents=True, exist_ok=True)
    words = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"]
    words += ["--artifacts-destination", str(folder / "artifacts"), "--allowed-hosts", hosts]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    log = folder / "server.log"
    with log.open("a") as out:
        process = subprocess.Popen(
            [*command, *words],
            cwd=folder,
            env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop_group(process)


def mlflow_client(address: str) -> Any:
    """Return a client of that store, and keep MLflow from leaving its address in the environment."""
    from tasks.registry import mlflow_store

    os.environ.pop("MLFLOW_TRACKING_URI", None)
    try:
        return mlflow_store.connect(address)
    finally:
        os.environ.pop("MLFLOW_TRACKING_URI", None)


def _wait(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 180
    while True:
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        try:
            urlopen(url, timeout=5).close()
            return
        except (URLError, OSError):
            time.sleep(0.1)


class S3Server:
    """An S3 over HTTP with the bucket ``bucket``."""

    def __init__(self, port: int):
        from moto.server import ThreadedMotoServer

        self.port = port
        self._server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
        self._server.start()

    @property
    def client(self) -> Any:
        """The project's client for it."""
        from tasks.storage.s3 import s3_client

        return s3_client()

    def stop(self) -> None:
        """Stop answering; the objects stay in this process."""
        self._server.stop()


@contextmanager
def s3_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """Yield an empty S3 that this process's clients use."""
    from tasks.storage.s3 import _client

    port = free_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    _client.cache_clear()
    server = S3Server(port)
    try:
        urlopen(Request(f"http://127.0.0.1:{port}/moto-api/reset", method="POST")).close()
        server.client.create_bucket(Bucket="bucket")
        yield server
    finally:
        server.stop()
        _client.cache_clear()
