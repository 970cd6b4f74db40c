"""Addresses, locks and errors of the databases behind MLflow and Optuna."""

import sqlite3
import threading

import pytest

from tasks.errors import ConfigError, UnavailableError
from tasks.storage import databases
from tasks.storage.databases import (
    check_database,
    database_error,
    database_lock,
    refuse_password,
    with_driver,
    without_password,
)
from tests.postgres import PASSWORD, postgres
from tests.tasks.storage.test_locks import is_locked


def told(address: str):
    """Return the one line about what is wrong with a database, None if nothing is."""
    try:
        check_database(address)
    except Exception as error:
        return database_error(error, subject="MLflow", address=address, knob="the knob")
    return None


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql+psycopg2://ann:p%40ss@db:5432/x", "postgresql+psycopg2://ann:***@db:5432/x"),
        ("postgresql://ann:a:b@c@db/x", "postgresql://ann:***@db/x"),
        ("postgresql://db/x?user=ann&password=pa55", "postgresql://db/x?user=ann&password=***"),
        ("see https://ann:pa55@host:5000/a, then", "see https://ann:***@host:5000/a, then"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
    ],
)
def test_a_password_is_never_shown(address, shown):
    """Wherever an address keeps it; other parts stay readable."""
    assert without_password(address) == shown


def test_a_knob_with_a_password_is_refused():
    """It would be in every executed notebook; an address without one passes."""
    refuse_password("postgresql://ann@db/x", "the knob")
    with pytest.raises(ConfigError, match="the knob holds a password") as caught:
        refuse_password("postgresql://ann:pa55@db/x", "the knob")
    assert "pa55" not in str(caught.value)


def test_the_installed_driver_is_named():
    """SQLAlchemy's default is another driver; a driver that is named stays."""
    assert with_driver("postgres://db/x") == "postgresql+psycopg2://db/x"
    assert with_driver("postgresql+psycopg2://db/x") == "postgresql+psycopg2://db/x"


def test_a_sqlite_file_has_a_lock_and_a_server_none(tmp_path):
    """MLflow's server keeps two clients apart by itself."""
    with database_lock(f"sqlite:///{tmp_path}/mlflow.db"):
        assert is_locked(tmp_path / ".mlflow.db.lock")
    for address in ("http://db/mlflow", None):
        with database_lock(address):
            assert sorted(path.name for path in tmp_path.iterdir()) == [".mlflow.db.lock"]


def test_a_sqlite_file_that_cannot_be_used_is_one_line(tmp_path, monkeypatch):
    """A folder, another file, a damaged one, a locked one; a missing one is made later."""
    monkeypatch.setattr(databases, "_LOCKED_S", 0.1)
    (tmp_path / "text.db").write_text("no database " * 100)
    with sqlite3.connect(tmp_path / "locked.db", isolation_level=None) as other:
        other.execute("CREATE TABLE a (b)")
        other.execute("BEGIN EXCLUSIVE")
        lines = {name: told(f"sqlite:///{tmp_path}/{name}") for name in ("", "text.db", "locked.db", "none.db")}  # fmt: skip
    other.close()
    assert lines["none.db"] is None
    assert "it is a folder" in str(lines[""])
    assert "not an intact SQLite database" in str(lines["text.db"])
    assert isinstance(lines["locked.db"], UnavailableError)
    assert all("\n" not in str(line) for line in lines.values())


def test_a_file_that_may_not_be_written_is_one_line(tmp_path, monkeypatch):
    """Root may write anything, so the right is taken away in the answer only."""
    sqlite3.connect(tmp_path / "a.db").close()
    (tmp_path / "a.db").write_bytes(b"")
    monkeypatch.setattr("os.access", lambda *_: False)
    line = told(f"sqlite:///{tmp_path}/a.db")
    assert isinstance(line, ConfigError)
    assert "read-only" in str(line)


def test_a_file_that_went_away_is_named_as_such(tmp_path):
    """SQLite says that it is read-only, because what it writes to is no longer in the folder."""
    path = tmp_path / "a.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE a (b)")
    path.unlink()
    with pytest.raises(sqlite3.OperationalError) as caught:
        connection.execute("INSERT INTO a VALUES (1)")
    connection.close()
    line = database_error(caught.value, subject="MLflow", address=f"sqlite:///{path}", knob="knob")
    assert "moved or removed" in str(line)


@pytest.mark.slow
def test_what_postgresql_says_is_one_line_without_the_password():
    """Nothing is wrong, a wrong password, an unknown database, no server; each at once."""
    with postgres() as server:
        address = server.create("mlflow")
        assert told(address) is None
        wrong = told(server.address("mlflow", password="guess-1"))
        unknown = told(server.address("nothing"))
        server.stop()
        gone = told(address)
    assert isinstance(wrong, ConfigError)
    assert "the password is wrong or missing" in str(wrong)
    assert "no such database" in str(unknown)
    assert isinstance(gone, UnavailableError)
    for line in (wrong, unknown, gone):
        assert "\n" not in str(line)
        assert PASSWORD not in str(line) and "guess-1" not in str(line)


@pytest.mark.slow
def test_postgresqls_lock_is_held_between_connections_and_by_purpose():
    """A second worker waits for the first; another purpose does not."""
    with postgres() as server:
        address, order = server.create("optuna"), []

        def second() -> None:
            with database_lock(address, "one"):
                order.append("second")

        with database_lock(address, "one"):
            worker = threading.Thread(target=second)
            worker.start()
            with database_lock(address, "another"):
                order.append("first")
            worker.join(0.5)
            order.append("released")
        worker.join(30)
    assert order == ["first", "released", "second"]
