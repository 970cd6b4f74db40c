"""A real MLflow server, on PostgreSQL where its programs are installed, else on SQLite."""

import os
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.errors import ConfigError
from tasks.storage.databases import with_driver
from tests.conftest import free_port
from tests.postgres import installed, postgres
from tests.rehearsal.guard import outside
from tests.rehearsal.processes import MARK, Processes

_START_S, _STOP_S = 120.0, 10.0


class Tracking:
    """A server that can be stopped and started again with the same database and address.

    Attributes
    ----------
    uri
        Where it listens.
    database
        What its database is.
    """

    def __init__(self, folder: Path, store_uri: str, database: str):
        self.database = database
        self._folder, self._store_uri = folder, store_uri
        self._log = folder / "mlflow.log"
        self.uri = f"http://127.0.0.1:{free_port()}"
        self._server: Processes | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        environment = os.environ | {
            "MLFLOW_BACKEND_STORE_URI": self._store_uri,
            "MLFLOW_ARTIFACTS_DESTINATION": str(self._folder / "artifacts"),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # five processes that nothing here uses
        }
        words = [sys.executable, "-W", "ignore", "-m", "mlflow", "server", "--workers", "1"]
        words += ["--host", "127.0.0.1", "--port", self.uri.rpartition(":")[2]]
        self._server = Processes(
            words, self._folder, environment, memory_mb=None, on_line=self._write
        )
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._server.is_running:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.2)
        raise ConfigError(f"MLflow did not start; see {self._log}")

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self._server is not None:
            self._server.stop(_STOP_S)
            self._server.wait()
        self._server = None

    def _write(self, line: str) -> None:
        with self._log.open("a") as log:
            log.write(f"{line}\n")


@contextmanager
def tracking_server(folder: Path) -> Iterator[Tracking]:
    """Yield a server; its artifacts, its log and, unless it is PostgreSQL's, its database lie in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with database(folder) as (store_uri, kind):
        tracking = Tracking(folder, store_uri, kind)
        try:
            tracking.start()
            yield tracking
        finally:
            tracking.stop()


@contextmanager
def database(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield a new database's URI and what it is."""
    if installed() is None:
        yield f"sqlite:///{folder / 'mlflow.db'}", "SQLite (PostgreSQL is not installed here)"
        return
    with postgres(prefix=outside(os.environ.get(MARK, ""))) as server:
        yield with_driver(server.create("mlflow")), "PostgreSQL"
