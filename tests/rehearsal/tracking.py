"""A real MLflow server, on PostgreSQL where its programs are installed, else on SQLite."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.errors import ConfigError
from tests.conftest import free_port
from tests.rehearsal.guard import outside
from tests.rehearsal.processes import MARK, Processes

_START_S, _STOP_S = 120.0, 10.0
_PROGRAMS = ("initdb", "pg_ctl")


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
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    folders = [*installed, *([Path(on_path).resolve().parent] if on_path else [])]
    for programs in folders:
        if all((programs / name).is_file() for name in _PROGRAMS):
            with _postgres(programs) as uri:
                yield uri, "PostgreSQL"
            return
    yield f"sqlite:///{folder / 'mlflow.db'}", "SQLite (PostgreSQL is not installed here)"


@contextmanager
def _postgres(programs: Path) -> Iterator[str]:
    """Yield the URI of a new database, which listens on 127.0.0.1 and a socket in a folder of its own."""
    # in a folder elsewhere: PostgreSQL's user may not enter every folder that root works in
    folder = Path(tempfile.mkdtemp(prefix=outside(os.environ.get(MARK, ""))))
    user = _unprivileged_user(folder)
    port, data = str(free_port()), str(folder / "data")

    def run(program: str, *words: str) -> None:
        done = subprocess.run(
            [str(programs / program), *words],
            user=user,
            group=user and pwd.getpwnam(user).pw_gid,
            extra_groups=[] if user else None,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ConfigError(f"{program} failed: {' '.join(done.stderr.split())[-300:]}")

    run("initdb", "-D", data, "-U", "mlflow", "--auth=trust", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    options += " -c fsync=off"
    run("pg_ctl", "-D", data, "-w", "-o", options, "-l", str(folder / "log"), "start")
    try:
        yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged_user(folder: Path) -> str | None:
    """Return the user to run PostgreSQL as, which refuses root, and give it the folder; None: the current user."""
    if os.geteuid() != 0:
        return None
    names = {one.pw_name for one in pwd.getpwall()}
    user = "postgres" if "postgres" in names else "nobody"
    shutil.chown(folder, user)
    return user
