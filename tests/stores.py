"""Stores as real processes and servers on free ports of this machine: MLflow, S3."""

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

# An account that nobody has, and a client that asks once.
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
    """Run MLflow on the store in `folder`, made if it is not there; yield its address.

    The server answers only to the Host headers that it is told.
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
    """Return a client of that store; MLflow notes the last one in the environment, where it is in the way."""
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
    """An S3 over HTTP with the bucket ``bucket``; it forgets everything when it is made anew."""

    def __init__(self, port: int):
        from moto.server import ThreadedMotoServer

        self.port = port
        self._server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
        self._server.start()

    @property
    def client(self) -> Any:
        """The client that the project uses for it."""
        from tasks.storage.s3 import s3_client

        return s3_client()

    def stop(self) -> None:
        """Stop answering; what it holds stays in this process."""
        self._server.stop()


@contextmanager
def s3_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """Yield an empty S3 that this process's clients are pointed at."""
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
