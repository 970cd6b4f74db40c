"""An MLflow client whose errors are one line each."""

from functools import wraps
from typing import Any

from tasks.errors import UnavailableError
from tasks.storage.availability import is_temporary


class ReadableClient:
    """An ``MlflowClient`` whose every call raises an UnavailableError if its server is temporarily unavailable."""

    def __init__(self, client: Any, uri: str):
        self._client, self._uri = client, uri

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found

        @wraps(found)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return found(*args, **kwargs)
            except Exception as error:
                if not is_temporary(error):
                    raise
                raise unavailable(self._uri, error) from None

        return call


def unavailable(uri: str, error: BaseException) -> UnavailableError:
    """Return the error that says that MLflow is temporarily unavailable, and why."""
    return UnavailableError(
        f"MLflow at {uri!r} cannot be reached just now ({reason_of(error)}); run again when it is back"
    )


def reason_of(error: BaseException) -> str:
    """Return the message of an error in one line of at most 300 characters."""
    return " ".join(str(error).split())[:300] or "no reason given"
