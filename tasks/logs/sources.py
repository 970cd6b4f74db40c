"""Where raw data comes from: the files of a folder or S3 prefix, and a fingerprint of their content."""

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlencode

from tasks.errors import InputError
from tasks.logs.origin import DATA_SUFFIXES, split_member
from tasks.storage import s3
from tasks.storage.files import write_atomic
from tasks.storage.s3 import is_s3, s3_client, s3_errors, split_address

FINGERPRINTS = ".fingerprints.json"  # beside the log: hashes of files that were read before
_BUFFER_BYTES = 8 << 20


@dataclass(frozen=True)
class SourceFile:
    """One file of a source; ``mark`` changes whenever its content may have changed."""

    uri: str
    name: str
    size_bytes: int
    mark: str
    path: str = ""  # of a local file, absolute: another process may run elsewhere

    def open(self) -> BinaryIO:
        """Return the bytes as a seekable binary file."""
        if is_s3(self.uri):
            return io.BufferedReader(_S3Object(self), buffer_size=_BUFFER_BYTES)
        try:
            return Path(self.path or self.uri).open("rb")
        except OSError as error:
            raise InputError(
                f"{self.uri}: cannot be opened ({error.strerror}); check its permissions"
            ) from None


def _ignore(_: str) -> None:
    pass


def list_files(source: str, note: Callable[[str], None] = _ignore) -> list[SourceFile]:
    """Return the data files that a path or S3 address stands for, sorted by name.

    Symbolic links are followed, each folder once. `note` is called with what is not read for its name.

    Raises
    ------
    InputError
        If nothing is there, or nothing that is data.
    """
    source, _ = split_member(source)
    if is_s3(source):
        return _list_s3(source, note)
    path = Path(source)
    if not path.exists():
        raise InputError(
            f"{source}: no such file or folder; check `data` (a relative path starts at {Path.cwd()})"
        )
    if path.is_file():
        return [_local_file(path, path.name)]
    found, left = [], []
    for file in _walk(path, {path.resolve()}):
        name = file.relative_to(path).as_posix()
        if not file.is_file():
            left.append(name)
        elif is_data(name):
            found.append(_local_file(file, name))
        elif counts(name, file.stat().st_size):
            left.append(name)
    note_left_out(left, source, note)
    if not found:
        raise InputError(
            f"{source}: no data in this folder; expected files ending in {', '.join(DATA_SUFFIXES)}"
        )
    return sorted(found, key=lambda one: Path(one.name))


def _walk(folder: Path, seen: set[Path]) -> Iterator[Path]:
    """Yield everything below a folder that is no folder, dangling links and folders seen before included."""
    for path in sorted(folder.iterdir()):
        if not path.is_dir():
            yield path
        elif (real := path.resolve()) not in seen:
            seen.add(real)
            yield from _walk(path, seen)
        else:
            yield path


def is_data(name: str) -> bool:
    """Return whether a file of a folder or archive is read: a known suffix, and no name that hides it."""
    hidden = any(part.startswith((".", "_")) for part in name.split("/"))
    return name.lower().endswith(DATA_SUFFIXES) and not hidden


def counts(name: str, size_bytes: int) -> bool:
    """Return whether a file that is not read deserves a word: markers such as `_SUCCESS` are empty."""
    return bool(size_bytes) or not name.rsplit("/", 1)[-1].startswith(("_", "."))


def note_left_out(names: list[str], where: str, note: Callable[[str], None]) -> None:
    """Name files that are not read."""
    if names:
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        note(
            f"not read in {where}: {shown} (a hidden name, an unknown suffix, or a link to nothing new)"
        )


def _local_file(path: Path, name: str) -> SourceFile:
    stat = path.stat()
    return SourceFile(
        str(path),
        name,
        stat.st_size,
        f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}",
        str(path.absolute()),
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
    member = split_member(source)[1]
    if is_s3(source):
        return _sha256(json.dumps([[file.name, file.mark] for file in files] + _named(member)))
    hashes = _local_hashes(files, Path(cache_path) if cache_path else None)
    return _sha256(json.dumps([[file.name, hashes[file.uri]] for file in files] + _named(member)))


def _named(member: str | None) -> list[list[str]]:
    return [] if member is None else [[member]]


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


def _list_s3(source: str, note: Callable[[str], None]) -> list[SourceFile]:
    bucket, key = split_address(source)
    if not bucket:
        raise InputError(f"{source}: names no bucket; write s3://bucket/key or s3://bucket/prefix/")
    with s3_errors(source):
        pages = s3_client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        entries = [entry for page in pages for entry in page.get("Contents", ())]
    exact = [entry for entry in entries if entry["Key"] == key]
    if not exact:
        folder = key if not key or key.endswith("/") else f"{key}/"
        entries = [entry for entry in entries if entry["Key"].startswith(folder)]
        names = {entry["Key"]: entry["Key"][len(folder) :] for entry in entries}
        left = [
            names[entry["Key"]]
            for entry in entries
            if not is_data(names[entry["Key"]])
            and not entry["Key"].endswith("/")
            and counts(entry["Key"], entry["Size"])
        ]
        note_left_out(left, source, note)
        entries = [entry for entry in entries if is_data(names[entry["Key"]])]
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
    """An S3 object as a seekable file, read in ranges; a range is fetched again when its connection breaks."""

    def __init__(self, file: SourceFile):
        self._file = file
        self._bucket, self._key = split_address(file.uri)
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
        with s3_errors(self._file.uri):
            data = self._fetch(f"bytes={self._position}-{stop - 1}")
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _fetch(self, span: str) -> bytes:
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        for _ in range(s3.ATTEMPTS - 1):
            try:
                return self._fetch_once(span)
            except (HTTPClientError, IncompleteReadError):
                continue
        return self._fetch_once(span)

    def _fetch_once(self, span: str) -> bytes:
        answer = s3_client().get_object(
            Bucket=self._bucket, Key=self._key, Range=span, IfMatch=self._etag
        )
        return answer["Body"].read()
