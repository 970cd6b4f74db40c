"""S3: the client of this process, and its errors as one line each."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from tasks.errors import ChangedError, InputError, UnavailableError
from tasks.storage.availability import aws_code, is_temporary

ATTEMPTS = 4
_CHANGED = ("412", "PreconditionFailed", "409", "ConditionalRequestConflict")


def is_s3(address: str) -> bool:
    """Return whether the address is one of S3."""
    return address.startswith("s3://")


def split_address(address: str) -> tuple[str, str]:
    """Return bucket and key (or prefix) of an S3 address; either may be empty.

    Examples
    --------
    >>> split_address("s3://bucket/logs/a.csv")
    ('bucket', 'logs/a.csv')
    """
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return bucket, key


def s3_client() -> Any:
    """Return this process's S3 client; AWS_ENDPOINT_URL selects another service, such as MinIO."""
    return _client(os.environ.get("AWS_ENDPOINT_URL"), os.getpid())


@cache
def _client(endpoint: str | None, process: int) -> Any:
    """Return a client; a forked process gets its own, because connections must not be shared."""
    import boto3
    from botocore.config import Config

    retries: Any = {"mode": "standard", "max_attempts": ATTEMPTS}
    return boto3.client("s3", config=Config(retries=retries, connect_timeout=5, read_timeout=60))


@contextmanager
def s3_errors(address: str) -> Iterator[None]:
    """Turn what boto3 raises into one line that names the address.

    Raises
    ------
    UnavailableError
        If S3 is temporarily unavailable.
    ChangedError
        If a condition on the object's content does not hold: it was replaced in the meantime.
    InputError
        If the address, a permission, the region or the endpoint is wrong.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise _readable(address, error) from None


def _readable(address: str, error: Exception) -> UnavailableError | InputError:
    code, reason = aws_code(error), " ".join(str(error).split())
    if code in _CHANGED:
        return ChangedError(f"{address}: changed meanwhile; run again")
    if is_temporary(error):
        return UnavailableError(
            f"{address}: S3 cannot be reached just now ({reason}); run again later"
        )
    if code is not None:
        return InputError(
            f"{address}: S3 answered {code}; check the address and the credentials' permissions"
        )
    return InputError(
        f"{address}: S3 cannot be used ({reason}); check credentials, region and endpoint"
    )
