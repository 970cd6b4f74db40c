"""A real MLflow server, on PostgreSQL where the machine has its programs, else on SQLite."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tasks.errors import ConfigError
from tests.rehearsal import podman
from tests.rehearsal.guard import is_elsewhere
from tests.rehearsal.ports import free_port
from tests.rehearsal.processes import Processes

_START_S, _STOP_S = 120.0, 10.0
_NO_JOBS = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"
}  # five more processes that nobody here asks
_ARTIFACTS = "/home/mlflow/artifacts"
_CPU, _MEMORY_MB = 1024, 2048


class Tracking:
    """A server that can be stopped and started again where it was.

    Attributes
    ----------
    uri
        Where it listens.
    database
        What its database is.
    """

    def __init__(self, folder: Path, address: str, database: str, image: str = ""):
        self.database = database
        self._folder, self._address, self._image = folder, address, image
        self._port = free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        self._server: Processes | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        told = {"MLFLOW_BACKEND_STORE_URI": self._address}
        self._server = (
            self._container(command, told) if self._image else self._processes(command, told)
        )
        _wait_for(self._server, f"{self.uri}/health", self._log)

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self._server is not None:
            self._server.stop(_STOP_S)
            self._server.wait()
        self._server = None

    def _processes(self, command: list[str], told: Mapping[str, str]) -> Processes:
        told = {**told, **_NO_JOBS, "MLFLOW_ARTIFACTS_DESTINATION": str(self._folder / "artifacts")}
        words = [sys.executable, "-W", "ignore", "-m", *command, "--workers", "1"]
        environment = os.environ | told
        return Processes(words, self._folder, environment, memory_mb=None, say=self._say)

    def _container(self, command: list[str], told: Mapping[str, str]) -> Processes:
        artifacts = self._folder / "artifacts"
        artifacts.mkdir(exist_ok=True)
        artifacts.chmod(0o777)  # the image's user is nobody here
        return podman.Container(
            self._image,
            [*command, "--workers", "2"],
            {**told, "MLFLOW_ARTIFACTS_DESTINATION": _ARTIFACTS},
            cpu=_CPU,
            memory_mb=_MEMORY_MB,
            say=self._say,
            volumes=[f"{artifacts}:{_ARTIFACTS}"],
            read_only=True,
        )

    @property
    def _log(self) -> Path:
        return self._folder / "mlflow.log"

    def _say(self, line: str) -> None:
        with self._log.open("a") as log:
            log.write(f"{line}\n")


@contextmanager
def tracking_server(folder: Path, image: str = "") -> Iterator[Tracking]:
    """Yield a server, of a built image if one is named; its database and its artefacts lie in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with _database(folder) as (address, database):
        tracking = Tracking(folder, address, database, image)
        try:
            tracking.start()
            yield tracking
        finally:
            tracking.stop()


def _wait_for(server: Processes, address: str, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and server.is_running:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise ConfigError(f"MLflow did not start; see {log}")


@contextmanager
def _database(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield a database's address and what it is."""
    programs = _postgres_programs()
    if programs is None:
        yield f"sqlite:///{folder / 'mlflow.db'}", "SQLite (no PostgreSQL programs on this machine)"
        return
    with _postgres(programs, folder) as address:
        yield address, "PostgreSQL"


def _postgres_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, the newest if there are several."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    folders = [*installed, *([Path(on_path).resolve().parent] if on_path else [])]
    wanted = ("initdb", "pg_ctl", "createdb")
    return next((one for one in folders if all((one / name).is_file() for name in wanted)), None)


@contextmanager
def _postgres(programs: Path, folder: Path) -> Iterator[str]:
    """Yield the address of a new database; it listens on 127.0.0.1 and a socket in a folder of its own."""
    # elsewhere: who is not root may not look into every folder that root works in
    rehearsal, folder = folder, Path(tempfile.mkdtemp(prefix="clicklab-postgres-"))
    is_elsewhere(rehearsal, folder)
    user = _not_root(folder)
    port, data = free_port(), folder / "data"

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

    run("initdb", "-D", str(data), "-U", "mlflow", "--auth=trust", "--no-sync")
    options = (
        f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    )
    run("pg_ctl", "-D", str(data), "-w", "-o", options, "-l", str(folder / "log"), "start")
    try:
        run("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "mlflow")
        yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/mlflow"
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _not_root(folder: Path) -> str | None:
    """Return the user to run PostgreSQL as, given the folder; None: whoever runs this."""
    if os.geteuid() != 0:
        return None
    names = {one.pw_name for one in pwd.getpwall()}
    user = next((name for name in ("postgres", "nobody") if name in names), None)
    if user is None:
        raise ConfigError(
            "PostgreSQL does not run as root, and there is no user postgres or nobody"
        )
    shutil.chown(folder, user)
    return user
