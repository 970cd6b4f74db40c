"""Where bytes come from and go to: files, folders and S3; the one module that knows S3."""

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlencode

from tasks.errors import ClicklabError, InputError, UnavailableError, full_disk_in_one_line
from tasks.storage.availability import aws_code, is_passing

DATA_SUFFIXES = (".csv", ".gz", ".zip", ".parquet", ".pq")
_BUFFER_BYTES = 8 << 20
_S3_ATTEMPTS = 4


@dataclass(frozen=True)
class SourceFile:
    """One file of a source; ``mark`` changes whenever its content may have."""

    uri: str
    name: str
    size_bytes: int
    mark: str

    def open(self) -> BinaryIO:
        """Return the bytes as a seekable binary file."""
        if is_s3(self.uri):
            return io.BufferedReader(_S3Object(self), buffer_size=_BUFFER_BYTES)
        try:
            return Path(self.uri).open("rb")
        except OSError as error:
            raise InputError(
                f"{self.uri}: cannot be opened ({error.strerror}); check its permissions"
            ) from None


def is_s3(source: str) -> bool:
    """Return whether the source is an S3 address."""
    return source.startswith("s3://")


def list_files(source: str) -> list[SourceFile]:
    """Return the data files that a path or S3 address stands for, sorted by name.

    Raises
    ------
    InputError
        If there is nothing there, or nothing that is CSV, gz, zip or Parquet.
    """
    if is_s3(source):
        return _list_s3(source)
    path = Path(source)
    if not path.exists():
        raise InputError(
            f"{source}: no such file or folder; check `data` (a relative path starts at {Path.cwd()})"
        )
    if path.is_file():
        return [_local_file(path, path.name)]
    found = sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and _is_data(file.relative_to(path).as_posix())
    )
    if not found:
        raise InputError(
            f"{source}: no data in this folder; expected files ending in {', '.join(DATA_SUFFIXES)}"
        )
    return [_local_file(file, file.relative_to(path).as_posix()) for file in found]


def _is_data(name: str) -> bool:
    hidden = any(part.startswith((".", "_")) for part in name.split("/"))
    return name.lower().endswith(DATA_SUFFIXES) and not hidden


def _local_file(path: Path, name: str) -> SourceFile:
    stat = path.stat()
    return SourceFile(
        str(path), name, stat.st_size, f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}"
    )


def fingerprint(source: str, *, cache_path: str | Path | None = None) -> str:
    """Return 64 hex digits that change when, and only when, the source's content does.

    Local files are hashed; `cache_path` names a small JSON that remembers hashes by path, size, time
    and inode, so that an untouched file is not read again. S3 objects count by ETag, size and version,
    a simulated log by its address.

    Raises
    ------
    InputError
        If the source cannot be found.
    """
    if source.startswith("sim://"):
        from tasks.simulation.simulate import parse_uri

        return _sha256("sim:" + urlencode(sorted(parse_uri(source).items())))
    files = list_files(source)
    if is_s3(source):
        return _sha256(json.dumps([[file.name, file.mark] for file in files]))
    hashes = _local_hashes(files, Path(cache_path) if cache_path else None)
    return _sha256(json.dumps([[file.name, hashes[file.uri]] for file in files]))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _local_hashes(files: list[SourceFile], cache_path: Path | None) -> dict[str, str]:
    known = _read_cache(cache_path)
    hashes, fresh = {}, {}
    for file in files:
        key = f"{Path(file.uri).resolve()}|{file.mark}"
        if key in known:
            hashes[file.uri] = known[key]
            continue
        with file.open() as handle:
            content = hashlib.file_digest(handle, "sha256")  # type: ignore[arg-type]
            hashes[file.uri] = fresh[key] = content.hexdigest()
    if fresh and cache_path is not None:
        paths = {key.rsplit("|", 1)[0] for key in fresh}
        kept = {key: value for key, value in known.items() if key.rsplit("|", 1)[0] not in paths}
        write_atomic(cache_path, json.dumps(kept | fresh, indent=1))
    return hashes


def _read_cache(path: Path | None) -> dict[str, str]:
    try:
        known = json.loads(path.read_text()) if path else {}
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Write a file whole or not at all; folders on the way are made.

    Raises
    ------
    DiskFullError
        If there is no room for it.
    """
    with open_atomic(path) as handle:
        handle.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def open_atomic(path: str | Path) -> Iterator[BinaryIO]:
    """Yield a new file that takes its place when it is whole; otherwise as :func:`write_atomic`."""
    path = Path(path)
    with full_disk_in_one_line(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=".partial"
        )
        try:
            with os.fdopen(descriptor, "wb") as handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


# ---- S3


@cache
def _client(endpoint: str | None, process: int) -> Any:
    """Return a client; a forked process gets its own, because connections must not be shared."""
    import boto3
    from botocore.config import Config

    retries: Any = {"mode": "standard", "max_attempts": _S3_ATTEMPTS}
    return boto3.client("s3", config=Config(retries=retries, connect_timeout=5, read_timeout=60))


def s3_client() -> Any:
    """Return this process's S3 client; AWS_ENDPOINT_URL points it elsewhere, such as at MinIO."""
    return _client(os.environ.get("AWS_ENDPOINT_URL"), os.getpid())


@contextmanager
def readable(uri: str) -> Iterator[None]:
    """Turn what boto3 raises into one line: an UnavailableError if S3 is away just now, else an InputError."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        if aws_code(error) in ("PreconditionFailed", "412"):
            raise InputError(f"{uri}: the object changed while it was read; run again") from None
        raise s3_error(uri, error) from None


def s3_error(uri: str, error: Exception) -> UnavailableError | InputError:
    """Return the one line for what boto3 raised: S3 is away just now, or the address or a right is wrong."""
    code, reason = aws_code(error), " ".join(str(error).split())
    if is_passing(error):
        return UnavailableError(f"{uri}: S3 cannot be reached just now ({reason}); run again later")
    if code is not None:
        return InputError(
            f"{uri}: S3 answered {code}; check the address and the credentials' rights"
        )
    return InputError(
        f"{uri}: S3 cannot be used ({reason}); check credentials, region and endpoint"
    )


def _list_s3(source: str) -> list[SourceFile]:
    bucket, _, key = source.removeprefix("s3://").partition("/")
    if not bucket:
        raise InputError(f"{source}: names no bucket; write s3://bucket/key or s3://bucket/prefix/")
    with readable(source):
        pages = s3_client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        entries = [entry for page in pages for entry in page.get("Contents", ())]
    exact = [entry for entry in entries if entry["Key"] == key]
    if not exact:
        folder = key if not key or key.endswith("/") else f"{key}/"
        entries = [entry for entry in entries if entry["Key"].startswith(folder)]
        entries = [entry for entry in entries if _is_data(entry["Key"][len(folder) :])]
    chosen = exact or sorted(entries, key=lambda entry: entry["Key"])
    if not chosen:
        raise InputError(
            f"{source}: no such object, and no data below it; expected keys ending in {', '.join(DATA_SUFFIXES)}"
        )
    return [_s3_file(bucket, entry, key) for entry in chosen]


def _s3_file(bucket: str, entry: dict[str, Any], key: str) -> SourceFile:
    full = entry["Key"]
    name = full.rsplit("/", 1)[-1] if full == key else full[len(key) :].lstrip("/")
    return SourceFile(
        f"s3://{bucket}/{full}", name, entry["Size"], f"{entry['ETag']}-{entry['Size']}"
    )


class _S3Object(io.RawIOBase):
    """An S3 object as a seekable file, read in ranges; each range is tried anew when a connection breaks."""

    def __init__(self, file: SourceFile):
        self._file = file
        self._bucket, _, self._key = file.uri.removeprefix("s3://").partition("/")
        self._etag = file.mark.rsplit("-", 1)[0]
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size_bytes}[
            whence
        ]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        stop = min(self._position + len(buffer), self._file.size_bytes)
        if stop <= self._position:
            return 0
        with readable(self._file.uri):
            data = self._fetch(f"bytes={self._position}-{stop - 1}")
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _fetch(self, span: str) -> bytes:
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        for attempt in range(_S3_ATTEMPTS):
            answer = s3_client().get_object(
                Bucket=self._bucket, Key=self._key, Range=span, IfMatch=self._etag
            )
            try:
                return answer["Body"].read()
            except (HTTPClientError, IncompleteReadError):
                if attempt == _S3_ATTEMPTS - 1:
                    raise
        raise ClicklabError("unreachable")
