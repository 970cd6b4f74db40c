"""What is in a file: the file itself, decompressed, or the members of an archive, recognized by their first bytes."""

import bz2
import gzip
import io
import lzma
import shutil
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, cast

import pyarrow as pa

from tasks.errors import InputError
from tasks.logs.sources import counts, is_data, note_left_out

PARQUET, _ZIP = b"PAR1", b"PK"
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
_DECOMPRESSORS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": lambda stream: pa.CompressedInputStream(stream, "zstd"),
}
_NAMED = {
    ".gz": (b"\x1f\x8b", "gzip"),
    ".bz2": (b"BZh", "bzip2"),
    ".xz": (b"\xfd7zXZ", "xz"),
    ".zst": (b"\x28\xb5\x2f\xfd", "zstd"),
    ".zip": (_ZIP, "a zip archive"),
    ".parquet": (PARQUET, "Parquet"),
    ".pq": (PARQUET, "Parquet"),
}
_BZIP2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")
_HEAD_BYTES = 512
_READ_BYTES = 1 << 20
_FREE_BYTES, _MAX_RATIO = 256 << 20, 100  # what unpacks to more than both is no log
_DEFLATE64, _ENCRYPTED = 9, 1
_MAX_DEPTH = 8  # of archives in archives


class Part(NamedTuple):
    """A table of text or Parquet: its name, and its bytes (in any order if it is Parquet)."""

    name: str
    stream: BinaryIO
    is_parquet: bool


@dataclass
class Opener:
    """Opens files of a source; `note` is called with what is left out.

    Parameters
    ----------
    note
        Called with one sentence for each kind of thing.
    member
        The only member of archives that is wanted.
    """

    note: Callable[[str], None]
    member: str | None = None

    def parts(self, handle: BinaryIO, uri: str, size_bytes: int) -> Iterator[Part]:
        """Yield each table of text or Parquet in a file.

        Raises
        ------
        InputError
            If the file is not what its name says, unpacks to very much more than it is, or is locked.
        """
        yield from self._named(handle, uri, size_bytes, depth=0)

    def _named(self, stream: Any, uri: str, size: int, *, depth: int) -> Iterator[Part]:
        _check_name(uri, stream.peek(_HEAD_BYTES))
        yield from self._parts(stream, uri, size, depth=depth)

    def _parts(self, stream: Any, uri: str, size: int, *, depth: int) -> Iterator[Part]:
        if depth > _MAX_DEPTH:
            raise InputError(f"{uri}: packed more than {_MAX_DEPTH} times; unpack it")
        head = stream.peek(_HEAD_BYTES)
        if not head:
            self.note(f"{uri} is empty and was left out")
        elif head[257:262] == b"ustar":
            yield from self._of_tar(stream, uri, size, depth)
        elif head.startswith(_ZIP_STARTS):
            with _seekable(stream, depth) as file, zipfile.ZipFile(file) as archive:
                yield from self._of_zip(archive, uri, depth)
        elif opener := _decompressor(head):
            unpacked = io.BufferedReader(_Limited(opener(stream), uri, size), _READ_BYTES)
            yield from self._parts(unpacked, uri, size, depth=depth + 1)
        elif head.startswith(PARQUET):
            with _seekable(stream, depth) as file:
                yield Part(uri, file, is_parquet=True)
        else:
            yield Part(uri, stream, is_parquet=False)

    def _of_zip(self, archive: zipfile.ZipFile, uri: str, depth: int) -> Iterator[Part]:
        members = sorted(archive.infolist(), key=lambda one: one.filename)
        members = [one for one in members if not one.is_dir()]
        names = [one.filename for one in members]
        wanted = self._wanted(members, uri)
        for name, member in zip(_told_apart(names), members, strict=True):
            if member.filename not in wanted:
                continue
            if member.flag_bits & _ENCRYPTED:
                raise InputError(f"{uri}: {name} is encrypted; unpack it and name the CSV")
            if member.compress_type == _DEFLATE64:
                raise InputError(
                    f"{uri}: {name} is packed with Deflate64, which cannot be read here; unpack it (7z x) and name the folder"
                )
            with archive.open(member) as stream:
                limited = _Limited(stream, f"{uri}/{name}", member.compress_size)
                buffered = io.BufferedReader(limited, _READ_BYTES)
                yield from self._named(buffered, f"{uri}/{name}", member.file_size, depth=depth + 1)

    def _of_tar(self, stream: BinaryIO, uri: str, size: int, depth: int) -> Iterator[Part]:
        seen: Counter[str] = Counter()
        left: list[str] = []
        found = False
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if member.isdir():
                    continue
                if self.member is not None and member.name != self.member:
                    continue
                if not member.isfile() or (self.member is None and not is_data(member.name)):
                    left += [member.name] if counts(member.name, member.size) else []
                    continue
                seen[member.name] += 1
                name = _numbered(member.name, seen[member.name])
                found = True
                inner = cast(BinaryIO, archive.extractfile(member))
                # tarfile's stream cannot be wrapped twice: what is small is held, what is large goes to disk
                with tempfile.SpooledTemporaryFile(max_size=64 << 20) as spooled:
                    shutil.copyfileobj(inner, spooled, _READ_BYTES)
                    spooled.seek(0)
                    yield from self._named(
                        io.BufferedReader(_Raw(spooled), _READ_BYTES),
                        f"{uri}/{name}",
                        member.size,
                        depth=depth + 1,
                    )
        note_left_out(left, uri, self.note)
        if not found:
            raise InputError(_nothing(uri, self.member, left))

    def _wanted(self, members: list[zipfile.ZipInfo], uri: str) -> set[str]:
        names = [one.filename for one in members]
        if self.member is not None:
            wanted = {name for name in names if name == self.member}
        else:
            wanted = {name for name in names if is_data(name)}
            left = [one for one in members if one.filename not in wanted]
            told = [one.filename for one in left if counts(one.filename, one.file_size)]
            note_left_out(told, uri, self.note)
        if not wanted:
            raise InputError(_nothing(uri, self.member, names))
        return wanted


def is_plain_text(handle: Any, uri: str) -> bool:
    """Return whether a file is text as it is; one that is not what its name says is left to :class:`Opener`."""
    head = handle.peek(_HEAD_BYTES)[:_HEAD_BYTES]
    packed = head[257:262] == b"ustar" or head.startswith((*_ZIP_STARTS, PARQUET))
    named = any(uri.lower().endswith(suffix) for suffix in _NAMED)
    return bool(head) and not packed and not named and _decompressor(head) is None


def _nothing(uri: str, member: str | None, names: list[str]) -> str:
    held = ", ".join(names[:5]) or "nothing"
    what = f"no {member!r}" if member is not None else "no CSV"
    return f"{uri}: {what} in this archive; it holds {held}"


def _told_apart(names: list[str]) -> list[str]:
    """Return names, those that stand there before with their number."""
    seen: Counter[str] = Counter()
    told = []
    for name in names:
        seen[name] += 1
        told.append(_numbered(name, seen[name]))
    return told


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name} ({number})"


def _check_name(uri: str, head: bytes) -> None:
    for suffix, (start, kind) in _NAMED.items():
        if head and uri.lower().endswith(suffix) and not head.startswith(start):
            raise InputError(
                f"{uri}: not {kind}, whatever its name says (it begins with {head[:4]!r}); fetch it again, or name it .csv if it is one"
            )


def _decompressor(head: bytes) -> Callable[[Any], Any] | None:
    if head.startswith(b"BZh") and head[4:10] not in _BZIP2_BLOCKS:
        return None  # a header that begins so
    return next((one for mark, one in _DECOMPRESSORS.items() if head.startswith(mark)), None)


@contextmanager
def _seekable(stream: Any, depth: int) -> Iterator[Any]:
    """Yield the stream itself, or a temporary file with its content where it cannot be read in any order."""
    if not depth:
        yield stream
        return
    with tempfile.TemporaryFile() as file:
        shutil.copyfileobj(stream, file, _READ_BYTES)
        file.seek(0)
        yield file


class _Raw(io.RawIOBase):
    """A file-like object as a raw stream."""

    def __init__(self, stream: Any):
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Limited(_Raw):
    """An unpacked stream that ends with an error when it is absurdly longer than what it was packed as."""

    def __init__(self, stream: Any, uri: str, size_bytes: int):
        super().__init__(stream)
        self._uri, self._left = uri, max(_FREE_BYTES, _MAX_RATIO * size_bytes)

    def readinto(self, buffer: Any) -> int:
        n_bytes = super().readinto(buffer)
        self._left -= n_bytes
        if self._left < 0:
            raise InputError(
                f"{self._uri}: unpacks to more than {_MAX_RATIO} times its size, which no log does; if it is one, unpack it yourself"
            )
        return n_bytes
