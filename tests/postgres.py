"""A real PostgreSQL on a free port of this machine, which tests can stop, start and lock out of."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import free_port

USER, PASSWORD = "clicklab", "s3cret-pa55"
_PROGRAMS = ("initdb", "pg_ctl", "createdb")


class Postgres:
    """A server whose user needs the password; it listens on 127.0.0.1 and on a socket in `folder`."""

    def __init__(self, programs: Path, folder: Path):
        self._programs, self._folder = programs, folder
        self._user = _unprivileged_user(folder)
        self.port = free_port()
        self._data = str(folder / "data")
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if self._user:
            shutil.chown(secret, self._user)
        words = ["--auth=scram-sha-256", "--auth-local=trust", f"--pwfile={secret}", "--no-sync"]
        self._run("initdb", "-D", self._data, "-U", USER, *words)

    def address(self, database: str, *, password: str | None = PASSWORD) -> str:
        """Return the address of a database."""
        login = USER if password is None else f"{USER}:{password}"
        return f"postgresql://{login}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off"
        options += f" -c unix_socket_directories={self._folder}"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", self._data, "-w", "-o", options, "-l", log, "start")

    def stop(self) -> None:
        """Stop it at once, as a crash would: open connections break."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    def create(self, database: str) -> str:
        """Create a database and return its address."""
        self._run("createdb", "-h", str(self._folder), "-p", str(self.port), "-U", USER, database)
        return self.address(database)

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *words],
            user=self._user,
            group=self._user and pwd.getpwnam(self._user).pw_gid,
            extra_groups=[] if self._user else None,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"


@contextmanager
def postgres(prefix: str = "clicklab-postgres-") -> Iterator[Postgres]:
    """Yield a running server, its folder named with `prefix`; the test is skipped where PostgreSQL is not installed."""
    programs = installed()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: neither on PATH nor below /usr/lib/postgresql")
    # a folder of its own elsewhere: PostgreSQL's user may not enter every folder that root works in
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    server = None
    try:
        server = Postgres(programs, folder)
        server.start()
        yield server
    finally:
        if server is not None and (folder / "data" / "postmaster.pid").exists():
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def installed() -> Path | None:
    """Return the folder of PostgreSQL's programs, None if it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    folders = [*found, *([Path(on_path).resolve().parent] if on_path else [])]
    return next((one for one in folders if all((one / name).is_file() for name in _PROGRAMS)), None)


def _unprivileged_user(folder: Path) -> str | None:
    """Return the user to run PostgreSQL as, and give it the folder; None: the current user."""
    if os.geteuid() != 0:
        return None
    names = {one.pw_name for one in pwd.getpwall()}
    user = next(name for name in ("postgres", "nobody") if name in names)
    shutil.chown(folder, user)
    return user
