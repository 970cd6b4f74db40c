"""The databases behind MLflow and Optuna: their addresses, a lock between processes, and their errors as one line each."""

import hashlib
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tasks.errors import ClicklabError, ConfigError, InputError, UnavailableError
from tasks.storage.availability import is_temporary, patiently
from tasks.storage.locks import file_lock

SQLITE = "sqlite:///"
_POSTGRES = re.compile(r"^postgres(ql)?://")
_PASSWORD = re.compile(r"(?P<before>://[^:/?#@\s]*:)(?P<password>[^/?#\s]*)(?=@)")
_PASSWORD_OPTION = re.compile(r"(?P<before>[?&](?:ssl)?password=)(?P<password>[^&\s]*)")
_CONNECT_S, _LOCKED_S = 10, 20.0

# What SQLite and PostgreSQL say, what that means, what to do about it.
_FAULTS: tuple[tuple[str, str, str, type[ClicklabError]], ...] = (
    ("database is locked", "another program has locked it", "close that program, then run again", UnavailableError),
    ("readonly database", "it is read-only", "make the file and its folder writable", ConfigError),
    ("file is not a database|malformed", "the file is not an intact SQLite database", "restore it from a backup, or move it away to begin a new one", ConfigError),
    ("no such table", "its tables are missing: the file was replaced", "restore it from a backup, or move it away to begin a new one", InputError),
    ("unable to open database file", "the file cannot be opened", "check that its folder exists and is writable", ConfigError),
    ("password authentication failed|no password supplied", "the password is wrong or missing", "set PGPASSWORD, or add a line to ~/.pgpass", ConfigError),
    ('role "[^"]*" does not exist', "there is no such user", "check the address", ConfigError),
    ('database "[^"]*" does not exist', "there is no such database", "create it with `createdb`, or correct the address", ConfigError),
    ("no pg_hba.conf entry", "this machine may not connect", "ask for an entry in pg_hba.conf", ConfigError),
    ("could not translate host name", "there is no such host", "check the address", ConfigError),
    ("permission denied", "the user lacks a permission", "grant it CREATE, SELECT, INSERT, UPDATE and DELETE", ConfigError),
)  # fmt: skip


def is_database(address: str) -> bool:
    """Return whether an address names a database, and not a server that is asked over HTTP."""
    return address.startswith(SQLITE) or address.startswith("postgres")


def sqlite_path(address: str) -> Path | None:
    """Return the file behind a ``sqlite:///`` address, None for any other address."""
    return Path(address.removeprefix(SQLITE)) if address.startswith(SQLITE) else None


def with_driver(address: str) -> str:
    """Return a PostgreSQL address that names the driver installed here; others are left alone.

    Examples
    --------
    >>> with_driver("postgresql://db/mlflow")
    'postgresql+psycopg2://db/mlflow'
    """
    return _POSTGRES.sub("postgresql+psycopg2://", address)


def without_password(text: str) -> str:
    """Return an address, or a text with addresses in it, with every password masked.

    Examples
    --------
    >>> without_password("postgresql://ann:pa55@db/mlflow")
    'postgresql://ann:***@db/mlflow'
    """
    return _PASSWORD_OPTION.sub(r"\g<before>***", _PASSWORD.sub(r"\g<before>***", text))


def refuse_password(address: str, knob: str) -> None:
    """Raise a ConfigError if an address holds a password: knobs are shown in notebooks, records and commits."""
    if without_password(address) != address:
        raise ConfigError(
            f"{knob} holds a password, which notebooks and commits would show ({without_password(address)}); "
            "leave it out, and set PGPASSWORD, or add a line to ~/.pgpass"
        )


@contextmanager
def database_lock(address: str | None, purpose: str = "tables") -> Iterator[None]:
    """Hold a lock for one purpose, shared by all processes that use the database, while the block runs.

    MLflow and Optuna create the tables of a new database on first use, and two processes that do so at once
    leave it broken. The lock ends with the process that holds it. Addresses that name no database need none.
    """
    if address is None or not is_database(address):
        yield
    elif (path := sqlite_path(address)) is not None:
        with file_lock(path):
            yield
    else:
        number = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:7], "big")
        with (
            closing(patiently(lambda: _connect(address))) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT pg_advisory_lock(%s)", [number])
            yield


def check_database(address: str) -> None:
    """Open a database and raise what keeps it from being used: a folder in its place, a lock, a wrong password.

    A SQLite file that does not exist yet is fine.
    """
    path = sqlite_path(address)
    if path is None:
        if address.startswith("postgres"):
            _connect(address).close()
        return
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    if not path.exists():
        return
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        raise sqlite3.OperationalError("attempt to write a readonly database")
    with closing(sqlite3.connect(path, timeout=_LOCKED_S, isolation_level=None)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def database_error(
    error: BaseException, *, subject: str, address: str, knob: str
) -> ClicklabError | None:
    """Return an error of a database, or of its server, as one line; None if it is none of these.

    Parameters
    ----------
    error
        As the driver, SQLAlchemy, MLflow or Optuna raised it.
    subject
        What is kept in the database, such as "MLflow"; the line begins with it.
    address
        Where it lies; its password is not shown.
    knob
        Where a user sets the address.
    """
    place = f"{subject} at {without_password(address)!r}"
    text, path = text_of(error), sqlite_path(address)
    if path is not None and not path.exists() and _is_of_a_database(error):
        return InputError(
            f"{place} cannot be used (the file was moved or removed); put it back, or run again to begin a new one"
        )
    if _is_of_a_database(error):
        for pattern, reason, advice, kind in _FAULTS:
            if re.search(pattern, text, re.IGNORECASE):
                return kind(f"{place} cannot be used ({reason}); {advice}; see {knob}")
    if is_temporary(error):
        return UnavailableError(
            f"{place} cannot be reached just now ({one_line(error)}); run again when it is back"
        )
    if isinstance(error, IsADirectoryError) and path is not None:
        return ConfigError(f"{place} cannot be used (it is a folder); name a file in {knob}")
    return None


def text_of(error: BaseException) -> str:
    """Return the texts of an error and its causes."""
    return "\n".join(str(link) for link in _chain(error))


def one_line(error: BaseException) -> str:
    """Return the message of an error in one line of at most 300 characters, without passwords."""
    return without_password(" ".join(str(error).split()))[:300] or "no reason given"


def _is_of_a_database(error: BaseException) -> bool:
    modules = {type(link).__module__.split(".")[0] for link in _chain(error)}
    return not modules.isdisjoint(("sqlite3", "psycopg2", "sqlalchemy"))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        seen.append(link)
        yield link
        link = link.__cause__ or link.__context__


def _connect(address: str) -> Any:
    """Return a connection of psycopg2 that commits each statement."""
    import psycopg2
    from sqlalchemy.engine import make_url

    url = make_url(with_driver(address)).set(drivername="postgresql")
    connection = psycopg2.connect(
        url.render_as_string(hide_password=False), connect_timeout=_CONNECT_S
    )
    connection.autocommit = True
    return connection
