"""Is what went wrong passing? A service that is away just now, as against a wrong address, right or knob.

MLflow, boto3 and libpq wrap what they met, each in exceptions of its own; so the whole chain of causes is looked
through, down to what the operating system or the other side said.
"""

import errno
import http.client
import re
import socket
import sqlite3
from collections.abc import Iterator
from typing import Any

# answers after which MLflow's and AWS's own clients ask once more
_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
_THROTTLED = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestTimeout"}
)
_UNREACHABLE = frozenset(
    {errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, socket.EAI_AGAIN}
)
_TEXT_ONLY = ("MlflowException", "OperationalError")  # may tell in words alone what they met
_SAID = re.compile(
    r"connection refused|timed out|timeout expired|connection reset|server closed the connection"
    r"|temporary failure in name resolution|too many (408|429|50[0234]) error responses"
    r"|database system is (starting up|shutting down|in recovery mode)|too many clients"
    r"|remaining connection slots",
    re.IGNORECASE,
)


def is_passing(error: BaseException) -> bool:
    """Return whether an error, or one that it came from, says that a service cannot be reached just now.

    That is: a connection refused, broken or too slow, a network or name server that is away, or an answer by which
    a server says that the fault is its own or that it has too much to do. It is not: a name that nobody has, a
    certificate that does not fit, a right that is missing, an address at which there is something else.

    Examples
    --------
    >>> is_passing(ConnectionRefusedError()), is_passing(PermissionError())
    (True, False)
    """
    links = list(_chain(error))
    if any(isinstance(link, sqlite3.Error) for link in links):  # a file is never away
        return False
    return any(_says_so(link) for link in links)


def aws_code(error: BaseException) -> str | None:
    """Return the code of the error that AWS answered, such as ``AccessDenied``; None where it answered none."""
    response = getattr(error, "response", None)  # botocore's own errors have one that is None
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return str(code) if code else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that it came from."""
    seen: list[BaseException] = []
    link: Any = error
    while isinstance(link, BaseException) and link not in seen:
        seen.append(link)
        yield link
        # s3transfer keeps in an attribute what it met
        link = link.__cause__ or getattr(link, "last_exception", None) or link.__context__


def _says_so(link: BaseException) -> bool:
    if isinstance(link, ConnectionError | TimeoutError | http.client.IncompleteRead):
        return True
    if isinstance(link, OSError) and link.errno in _UNREACHABLE:
        return True
    if _status(link) in _STATUSES or aws_code(link) in _THROTTLED:
        return True
    kind = type(link).__name__
    if kind in ("RetryError", "IncompleteReadError"):  # requests after its last try; botocore
        return True
    return kind in _TEXT_ONLY and bool(_SAID.search(str(link)))


def _status(link: BaseException) -> int | None:
    """Return the HTTP status that a server answered, None where none did."""
    response = getattr(link, "response", None)
    if isinstance(response, dict):
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if response is not None:
        return getattr(response, "status_code", None)
    if type(link).__name__ == "RestException":
        return int(link.get_http_status_code())  # type: ignore[attr-defined]
    return None
