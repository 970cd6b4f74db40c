"""The bucket that holds runs: files by key; each refusal becomes one line that names the missing permission."""

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.errors import ClicklabError, ConfigError, UnavailableError, disk_errors
from tasks.storage.availability import aws_code, is_temporary
from tasks.storage.s3 import is_s3, s3_client

_REFUSED = {"AccessDenied", "403", "Forbidden", "AccessDeniedException", "InvalidAccessKeyId"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_GONE = {"404", "NoSuchKey", "NotFound"}
_THREADS = 8


class StoreError(UnavailableError):
    """S3 gave an unexpected answer; another attempt may succeed."""


class Store:
    """A prefix of a bucket.

    Parameters
    ----------
    address
        ``s3://bucket/prefix``.

    Raises
    ------
    ConfigError
        If the address is invalid; in every call, if a permission is missing or the bucket does not exist.
    UnavailableError
        In every call, if S3 is temporarily unavailable.
    StoreError
        In every call, if it gives an unexpected answer.
    """

    def __init__(self, address: str):
        self.bucket, _, prefix = address.removeprefix("s3://").partition("/")
        if not is_s3(address) or not self.bucket:
            raise ConfigError(
                f"CLICKLAB_STORE must be an address such as s3://bucket/runs, found {address!r}"
            )
        self.address = address.rstrip("/")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def get(self, key: str) -> bytes | None:
        """Return a file's content, None if it does not exist."""
        with self._readable_errors("s3:GetObject", key) as gone:
            return s3_client().get_object(Bucket=self.bucket, Key=self._prefix + key)["Body"].read()
        return None if gone else b""

    def get_json(self, key: str) -> Any:
        """Return a file's content as data, None if it does not exist."""
        found = self.get(key)
        return None if found is None else json.loads(found)

    def put(self, key: str, content: bytes | str) -> None:
        """Write a small file."""
        body = content.encode() if isinstance(content, str) else content
        with self._readable_errors("s3:PutObject", key):
            s3_client().put_object(Bucket=self.bucket, Key=self._prefix + key, Body=body)

    def put_json(self, key: str, content: Any) -> None:
        """Write data as a small file."""
        self.put(key, json.dumps(content, indent=1) + "\n")

    def upload(self, path: Path, key: str) -> None:
        """Write a file of any size."""
        with self._readable_errors("s3:PutObject", key):
            s3_client().upload_file(str(path), self.bucket, self._prefix + key)

    def download(self, key: str, path: Path) -> bool:
        """Copy a file of any size to `path`, completely or not at all; False if it does not exist."""
        partial = path.with_name(f".{path.name}.fetched.partial")
        with disk_errors(path), self._readable_errors("s3:GetObject", key) as gone:
            path.parent.mkdir(parents=True, exist_ok=True)
            s3_client().download_file(self.bucket, self._prefix + key, str(partial))
            partial.replace(path)
        return not gone

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return key and size of every file below a prefix."""
        found: dict[str, int] = {}
        with self._readable_errors("s3:ListBucket", prefix):
            pages = s3_client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self._prefix + prefix):
                for entry in page.get("Contents", ()):
                    found[entry["Key"].removeprefix(self._prefix)] = entry["Size"]
        return found

    def delete(self, keys: Iterable[str]) -> None:
        """Delete files; without permission they stay, which is harmless."""
        for key in keys:
            try:
                with self._readable_errors("s3:DeleteObject", key):
                    s3_client().delete_object(Bucket=self.bucket, Key=self._prefix + key)
            except ClicklabError:
                return

    @contextmanager
    def _readable_errors(self, action: str, key: str) -> Iterator[list[str]]:
        """Turn S3 errors into one line; yields a list that is not empty if the file does not exist."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        gone: list[str] = []
        where = f"s3://{self.bucket}/{self._prefix}{key}"
        try:
            yield gone
        except Boto3Error as error:  # a transfer wraps the error that it met
            raise self._readable(action, where, error.__context__ or error) from None
        except ClientError as error:
            if aws_code(error) not in _GONE or action == "s3:PutObject":
                raise self._readable(action, where, error) from None
            gone.append(key)
        except BotoCoreError as error:
            raise self._readable(action, where, error) from None

    def _readable(self, action: str, where: str, error: BaseException) -> ClicklabError:
        code = aws_code(error) or type(error).__name__
        if code in _REFUSED:
            return ConfigError(
                f"{action} on {where} was refused ({code}): the role that runs this needs {action} on bucket {self.bucket}"
            )
        if code in _EXPIRED:
            return ConfigError(f"{action} on {where}: the credentials have expired; get new ones")
        if code == "NoSuchBucket":
            return ConfigError(f"{where}: there is no bucket {self.bucket}; check CLICKLAB_STORE")
        if code in ("NoCredentialsError", "PartialCredentialsError"):
            return ConfigError(f"{action} on {where}: no AWS credentials found; log in first")
        reason = " ".join(str(error).split())[:300]
        if is_temporary(error):
            return UnavailableError(
                f"{action} on {where}: S3 cannot be reached just now ({code}: {reason}); run the task again later"
            )
        return StoreError(f"{action} on {where} failed ({code}): {reason}; run the task again")


def in_parallel(work: Callable[..., Any], jobs: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Run all jobs, a few at a time, and return their results; the first error is raised once running jobs have ended."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="store") as pool:
        futures = [pool.submit(work, *job) for job in jobs]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise
