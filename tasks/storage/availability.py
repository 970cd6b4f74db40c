"""Whether an error is temporary: a service that is unavailable, as against a wrong address, permission or knob.

MLflow, boto3 and libpq wrap the errors they meet in exceptions of their own; so the whole chain of causes is
examined, down to what the operating system or the other side reported.
"""

import errno
import http.client
import os
import re
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

_T = TypeVar("_T")

# status codes after which MLflow's and AWS's own clients retry
_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
_THROTTLED = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestTimeout"}
)
_UNREACHABLE = frozenset(
    {errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, socket.EAI_AGAIN}
)
_TEXT_ONLY = (
    "MlflowException",
    "OperationalError",
    "InterfaceError",
)  # their cause may be text only
_TEMPORARY_TEXT = re.compile(
    r"connection refused|timed out|timeout expired|connection reset|server closed the connection"
    r"|temporary failure in name resolution|too many (408|429|50[0234]) error responses"
    r"|database system is (starting up|shutting down|in recovery mode)|too many clients"
    r"|remaining connection slots|terminating connection|connection already closed|connection has been closed",
    re.IGNORECASE,
)
# libpq reports every address of a host that it tried: one that refuses says nothing if another answered
_FINAL_TEXT = re.compile(
    r"password authentication failed|no password supplied|(database|role) \"[^\"]*\" does not exist|no pg_hba.conf entry"
)
_WAIT_S = 120.0
_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, *[15.0] * 40)


def is_temporary(error: BaseException) -> bool:
    """Return whether an error, or one of its causes, says that a service is temporarily unavailable.

    That is: a connection refused, broken or too slow, an unreachable network or name server, or a status by which
    a server reports a fault of its own or too much load. It is not: an unknown host name, an invalid certificate,
    a missing permission, an address at which something else answers.

    Examples
    --------
    >>> is_temporary(ConnectionRefusedError()), is_temporary(PermissionError())
    (True, False)
    """
    links = list(_chain(error))
    if any(
        isinstance(link, sqlite3.Error) for link in links
    ):  # a file is never temporarily unavailable
        return False
    return any(_is_temporary_link(link) for link in links)


def patiently(call: Callable[[], _T]) -> _T:
    """Return what `call` returns, calling it again while its errors are temporary, for at most two minutes.

    ``CLICKLAB_WAIT_S`` sets another limit in seconds; 0 does not wait at all.
    """
    limit = float(os.environ.get("CLICKLAB_WAIT_S") or _WAIT_S)
    since, slept = time.monotonic(), 0.0
    for pause in _PAUSES_S:
        try:
            return call()
        except Exception as error:
            is_over = max(time.monotonic() - since, slept) + pause > limit
            if is_over or not is_temporary(error):
                raise
        time.sleep(pause)
        slept += pause
    return call()


def aws_code(error: BaseException) -> str | None:
    """Return the error code that AWS answered, such as ``AccessDenied``, or None."""
    response = getattr(error, "response", None)  # botocore's own errors have one that is None
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return str(code) if code else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    seen: list[BaseException] = []
    link: Any = error
    while isinstance(link, BaseException) and link not in seen:
        seen.append(link)
        yield link
        # s3transfer keeps the cause in an attribute
        link = link.__cause__ or getattr(link, "last_exception", None) or link.__context__


def _is_temporary_link(link: BaseException) -> bool:
    if isinstance(link, ConnectionError | TimeoutError | http.client.IncompleteRead):
        return True
    if isinstance(link, OSError) and link.errno in _UNREACHABLE:
        return True
    if _status(link) in _STATUSES or aws_code(link) in _THROTTLED:
        return True
    kind = type(link).__name__
    if kind in (
        "RetryError",
        "IncompleteReadError",
    ):  # of requests, after its last attempt; of botocore
        return True
    text = str(link)
    return (
        kind in _TEXT_ONLY and bool(_TEMPORARY_TEXT.search(text)) and not _FINAL_TEXT.search(text)
    )


def _status(link: BaseException) -> int | None:
    """Return the HTTP status that a server answered, or None."""
    response = getattr(link, "response", None)
    if isinstance(response, dict):
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if response is not None:
        return getattr(response, "status_code", None)
    if type(link).__name__ == "RestException":
        return int(link.get_http_status_code())  # type: ignore[attr-defined]
    return None
