"""Starts MLflow's server once the tables of its database exist: ``python tracking_server.py COMMAND ...``.

Two servers that start on one empty database at once would both create its tables, and one would fail half-way. MLflow
guards against that by a lock file, which only processes of one machine share; here the database itself holds the lock.

Runs in an image that has MLflow and its driver but nothing of this project.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

LOCK = 0x636C69636B  # any number that nothing else locks in this database
ARTIFACTS = "mlflow-artifacts:/"  # the server's own default, written into the first experiment


def main(words: Sequence[str]) -> None:
    """Create missing tables, then become the command."""
    uri = os.environ.get("MLFLOW_BACKEND_STORE_URI", "")
    if uri.startswith("postgresql"):
        with locked(uri):
            create_tables(uri)
    os.execvp(words[0], list(words))


@contextmanager
def locked(uri: str) -> Iterator[None]:
    """Hold a lock in the database; it is released with the connection, so also when the process is killed."""
    import psycopg2

    connection = psycopg2.connect(uri.replace("postgresql+psycopg2:", "postgresql:", 1))
    try:
        connection.autocommit = True  # an open transaction would hold up the migrations
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        yield
    finally:
        connection.close()


def create_tables(uri: str) -> None:
    """Create tables and the first experiment, unless they exist."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(uri, ARTIFACTS)


if __name__ == "__main__":
    main(sys.argv[1:])
