"""Small files that several processes share, in a folder or on S3; a write fails if another came first.

An address is a path or ``s3://bucket/key``. The mark of a file changes whenever its content does.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tasks.errors import ChangedError, InputError
from tasks.storage.availability import aws_code
from tasks.storage.files import write_atomic
from tasks.storage.locks import file_lock
from tasks.storage.s3 import is_s3, s3_client, s3_errors, split_address

_GONE = ("404", "NoSuchKey", "NotFound")


class SharedFile(NamedTuple):
    """Content, and the mark by which a change is noticed."""

    content: bytes
    mark: str


def read_shared(address: str, *, max_bytes: int | None = None) -> SharedFile | None:
    """Return a file, of no more than `max_bytes`, or None if there is none.

    Raises
    ------
    InputError, UnavailableError
        If it cannot be read, or S3 is temporarily unavailable.
    """
    if not is_s3(address):
        try:
            content = read_regular(Path(address), max_bytes=max_bytes)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"{address}: cannot be read ({error.strerror})") from None
        return SharedFile(content, hashlib.sha256(content).hexdigest()[:16])
    bucket, key = _split(address)
    with s3_errors(address):
        found = _get(bucket, key)
        if found is None:
            return None
        _check_size(address, found["ContentLength"], max_bytes)
        return SharedFile(found["Body"].read(), found["ETag"].strip('"'))


def read_regular(path: Path, *, max_bytes: int | None = None) -> bytes:
    """Return the content of a regular file: one that is none, such as a pipe, might never end.

    Raises
    ------
    InputError
        If it is no regular file, or larger than `max_bytes`.
    OSError
        If it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"{path}: cannot be read (no regular file)")
        _check_size(str(path), found.st_size, max_bytes)
        return file.read(-1 if max_bytes is None else max_bytes)


def _check_size(address: str, n_bytes: int, max_bytes: int | None) -> None:
    if max_bytes is not None and n_bytes > max_bytes:
        raise InputError(f"{address}: holds {n_bytes} bytes; at most {max_bytes} are read")


def write_shared(address: str, content: bytes, *, replaces: str | None) -> None:
    """Write a file, whole; it replaces the one with the mark `replaces`, or creates a new one if None.

    Raises
    ------
    ChangedError
        If the file now there has another mark.
    InputError, UnavailableError
        If it cannot be written, or S3 is temporarily unavailable.
    """
    if is_s3(address):
        bucket, key = _split(address)
        condition: dict[str, Any] = {"IfMatch": replaces} if replaces else {"IfNoneMatch": "*"}
        with s3_errors(address):
            s3_client().put_object(Bucket=bucket, Key=key, Body=content, **condition)
        return
    path = Path(address)
    try:
        with file_lock(path):
            found = read_shared(address)
            if (found and found.mark) != replaces:
                raise ChangedError(f"{address}: changed meanwhile; run again")
            write_atomic(path, content)
    except OSError as error:
        raise InputError(f"{address}: cannot be written ({error.strerror})") from None


def put_files(contents: Mapping[str, bytes], address: str) -> None:
    """Write files, by name, to a folder or S3 prefix of their own; raises as :func:`write_shared`."""
    for name, content in contents.items():
        if is_s3(address):
            bucket, key = _split(f"{address.rstrip('/')}/{name}")
            with s3_errors(address):
                s3_client().put_object(Bucket=bucket, Key=key, Body=content)
        else:
            try:
                write_atomic(Path(address) / name, content)
            except OSError as error:
                raise InputError(f"{address}: cannot be written ({error.strerror})") from None


def get_files(address: str, into: Path, names: Collection[str]) -> list[str]:
    """Copy the named files of a folder or prefix to a local folder, and return which of them existed.

    Raises
    ------
    InputError, UnavailableError
        If they cannot be read, or S3 is temporarily unavailable.
    OSError
        If the local folder cannot be written to.
    """
    if not is_s3(address):
        source = Path(address).resolve()  # one folder, even if a link changes in the meantime
        found = [name for name in names if (source / name).is_file()]
        for name in found:
            shutil.copyfile(source / name, into / name)
        return found
    bucket, prefix = _split(f"{address.rstrip('/')}/")
    found = []
    for name in names:
        with s3_errors(address):
            answer = _get(bucket, prefix + name)
            if answer is None:
                continue
            with (into / name).open("wb") as out:
                shutil.copyfileobj(answer["Body"], out, 1 << 18)
        found.append(name)
    return found


def join(address: str, place: str) -> str:
    """Return a place as it is if absolute, else relative to the folder of the file at `address`.

    Examples
    --------
    >>> join("s3://bucket/models/champion.json", "versions/1"), join("a/b.json", "/c"), join("b.json", "c")
    ('s3://bucket/models/versions/1', '/c', 'c')
    """
    if is_s3(place) or place.startswith("/"):
        return place
    return "/".join([*address.split("/")[:-1], place])


def _split(address: str) -> tuple[str, str]:
    bucket, key = split_address(address)
    if not bucket or not key:
        raise InputError(f"{address}: expected s3://bucket/key")
    return bucket, key


def _get(bucket: str, key: str) -> Any:
    from botocore.exceptions import ClientError

    try:
        return s3_client().get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if aws_code(error) in _GONE:
            return None
        raise
