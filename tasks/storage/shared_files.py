"""Small files in a folder or on S3, by address: read with a mark, written only if nobody else did.

An address is a path or ``s3://bucket/key``. The mark of a file changes whenever its content does.
"""

import fcntl
import hashlib
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tasks.errors import ClicklabError, InputError
from tasks.storage.availability import aws_code
from tasks.storage.files import is_s3, s3_client, s3_error, write_atomic

_GONE = ("404", "NoSuchKey", "NotFound")
_CHANGED = ("412", "PreconditionFailed", "409", "ConditionalRequestConflict")


class Blob(NamedTuple):
    """Content, and the mark by which a change is noticed."""

    content: bytes
    mark: str


class ChangedError(ClicklabError):
    """Somebody else wrote the file meanwhile."""


def read_blob(address: str) -> Blob | None:
    """Return a file, None if there is none; InputError if it cannot be read, UnavailableError if S3 is away."""
    if not is_s3(address):
        try:
            content = Path(address).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"{address}: cannot be read ({error.strerror})") from None
        return Blob(content, hashlib.sha256(content).hexdigest()[:16])
    bucket, key = _split(address)
    with _one_line(address):
        found = _get(bucket, key)
        return found and Blob(found["Body"].read(), found["ETag"].strip('"'))


def write_blob(address: str, content: bytes, *, replaces: str | None) -> None:
    """Write a file whole, in the place of the one with the mark `replaces`, or of none.

    Raises
    ------
    ChangedError
        If the file that is there has another mark.
    InputError, UnavailableError
        If it cannot be written, or S3 is away just now.
    """
    if is_s3(address):
        bucket, key = _split(address)
        condition: dict[str, Any] = {"IfMatch": replaces} if replaces else {"IfNoneMatch": "*"}
        with _one_line(address):
            s3_client().put_object(Bucket=bucket, Key=key, Body=content, **condition)
        return
    path = Path(address)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (path.parent / f".{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = read_blob(address)
            if (found and found.mark) != replaces:
                raise ChangedError(f"{address}: changed meanwhile; try again")
            write_atomic(path, content)
    except OSError as error:
        raise InputError(f"{address}: cannot be written ({error.strerror})") from None


def put_files(contents: Mapping[str, bytes], address: str) -> None:
    """Write files, by name, to a folder or S3 prefix that is their own; raises as :func:`write_blob`."""
    for name, content in contents.items():
        if is_s3(address):
            bucket, key = _split(f"{address.rstrip('/')}/{name}")
            with _one_line(address):
                s3_client().put_object(Bucket=bucket, Key=key, Body=content)
        else:
            try:
                write_atomic(Path(address) / name, content)
            except OSError as error:
                raise InputError(f"{address}: cannot be written ({error.strerror})") from None


def get_files(address: str, into: Path, names: Collection[str]) -> list[str]:
    """Copy those files of a place into a folder, and return which of them were there.

    Raises
    ------
    InputError, UnavailableError
        If they cannot be read, or S3 is away just now.
    OSError
        If the folder cannot be written to.
    """
    if not is_s3(address):
        source = Path(address).resolve()  # one folder, even if a link is moved meanwhile
        found = [name for name in names if (source / name).is_file()]
        for name in found:
            shutil.copyfile(source / name, into / name)
        return found
    bucket, prefix = _split(f"{address.rstrip('/')}/")
    found = []
    for name in names:
        with _one_line(address):
            answer = _get(bucket, prefix + name)
            if answer is None:
                continue
            with (into / name).open("wb") as out:
                shutil.copyfileobj(answer["Body"], out, 1 << 18)
        found.append(name)
    return found


def join(address: str, place: str) -> str:
    """Return a place that is absolute, or lies beside the file at `address`.

    Examples
    --------
    >>> join("s3://bucket/models/champion.json", "versions/1"), join("a/b.json", "/c"), join("b.json", "c")
    ('s3://bucket/models/versions/1', '/c', 'c')
    """
    if is_s3(place) or place.startswith("/"):
        return place
    return "/".join([*address.split("/")[:-1], place])


def _split(address: str) -> tuple[str, str]:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise InputError(f"{address}: expected s3://bucket/key")
    return bucket, key


def _get(bucket: str, key: str) -> Any:
    from botocore.exceptions import ClientError

    try:
        return s3_client().get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _GONE:
            return None
        raise


@contextmanager
def _one_line(address: str) -> Iterator[None]:
    """Turn what S3 answers, or does not answer, into one line."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        if aws_code(error) in _CHANGED:
            raise ChangedError(f"{address}: changed meanwhile; try again") from None
        raise s3_error(address, error) from None
