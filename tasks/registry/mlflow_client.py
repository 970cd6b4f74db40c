"""An MLflow client whose errors are one line each, and which waits while its database restarts."""

import logging
import random
import re
import sqlite3
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from tasks.errors import ClicklabError, ConfigError, InputError
from tasks.storage.availability import aws_code, patiently
from tasks.storage.databases import (
    database_error,
    is_database,
    one_line,
    refuse_password,
    sqlite_path,
    text_of,
    without_password,
)

KNOB = "`mlflow.tracking_uri` in env.yaml"
# MLflow looks for a row, then inserts it: of two processes that share one, such as a dataset, the second is refused
_TAKEN = re.compile(
    r"UniqueViolation|violates unique constraint|UNIQUE constraint failed|Duplicate entry",
    re.IGNORECASE,
)
_ATTEMPTS = 5  # of a call that another process's row refused


class ReadableClient:
    """An ``MlflowClient`` whose calls raise one line if the store cannot be used: see :func:`store_error`.

    A database that is temporarily unavailable is asked again for two minutes. MLflow's own client asks a server
    again for four (``MLFLOW_HTTP_REQUEST_MAX_RETRIES``).
    """

    def __init__(self, client: Any, uri: str):
        self._client, self._uri = client, uri

    def get_experiment_by_name(self, name: str) -> Any:
        """Return an experiment or None; ConfigError if it was deleted, because nothing can be added to it."""
        found = self._call(self._client.get_experiment_by_name, name)
        if found is not None and found.lifecycle_stage == "deleted":
            raise ConfigError(
                f"experiment {name!r} was deleted in MLflow; restore it with `MLFLOW_TRACKING_URI={without_password(self._uri)} "
                f".venv/bin/mlflow experiments restore --experiment-id {found.experiment_id}`, or set another "
                "`mlflow.experiment` in env.yaml"
            )
        return found

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found

        @wraps(found)
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._call(found, *args, **kwargs)

        return call

    def _call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        path = sqlite_path(self._uri)
        try:
            if path is not None and not path.exists():  # SQLite would begin an empty one
                raise sqlite3.OperationalError("unable to open database file")
            if is_database(self._uri):
                return patiently(lambda: _past_races(lambda: function(*args, **kwargs)))
            return _past_races(lambda: function(*args, **kwargs))
        except Exception as error:
            readable = store_error(self._uri, error)
            if readable is None:
                raise
            raise readable from None


def _past_races(call: Callable[[], Any]) -> Any:
    """Return what `call` returns, calling it again where another process inserted the same row just then.

    The refused transaction wrote nothing, and the next one finds the row. That a name exists already is an answer,
    and is raised.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return call()
        except Exception as error:
            is_answer = getattr(error, "error_code", "") == "RESOURCE_ALREADY_EXISTS"
            if is_answer or not _TAKEN.search(text_of(error)):
                raise
        time.sleep(random.uniform(0.05, 0.25))
    return call()


def store_error(uri: str, error: BaseException) -> ClicklabError | None:
    """Return what is wrong with a store in one line: its database, its server, its files; None for anything else."""
    found = database_error(error, subject="MLflow", address=uri, knob=KNOB)
    if found is not None:
        return found
    code = aws_code(error)
    if code in (
        "NoSuchBucket",
        "AccessDenied",
        "403",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
    ):
        return InputError(
            f"the artifacts of MLflow at {without_password(uri)!r}: S3 answered {code}; check bucket and credentials"
        )
    if isinstance(error, PermissionError | NotADirectoryError | FileExistsError) and error.filename:
        return InputError(
            f"{error.filename}: MLflow's artifacts cannot be written there ({error.strerror}); "
            "make the folder writable, or restore it"
        )
    return None


def check_files(uri: str) -> None:
    """Raise an InputError if a server cannot read its own place of files: a bucket is missing, or a right.

    Clients only learn that it failed, after asking again for four minutes.
    """
    from mlflow.tracking._tracking_service.utils import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    path = "/api/2.0/mlflow-artifacts/artifacts"
    how: dict[str, Any] = {"max_retries": 0, "raise_on_status": False}
    answer = http_request(get_default_host_creds(uri), path, "GET", **how)
    if answer.status_code in (403, 404, 500) and "error_code" in answer.text:
        raise InputError(
            f"MLflow at {without_password(uri)!r} answers, but cannot read where it keeps files ({answer.status_code}); "
            "check its bucket and keys (MLFLOW_ARTIFACTS_DESTINATION), and its log"
        )


def checked_address(tracking_uri: str, environment: str | None) -> str:
    """Return the address to use: that of the environment if set, else the knob, which may hold no password."""
    if environment:
        return environment
    refuse_password(tracking_uri, KNOB)
    return tracking_uri


def quiet_mlflow() -> None:
    """Silence MLflow's news about tables, and the long form of errors that end as one line here; import it before."""
    levels = {
        "mlflow": logging.WARNING,
        "mlflow.store.db.utils": logging.CRITICAL,
        "alembic": logging.WARNING,
    }
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def reason_of(error: BaseException) -> str:
    """Return the message of an error in one line of at most 300 characters."""
    return one_line(error)
