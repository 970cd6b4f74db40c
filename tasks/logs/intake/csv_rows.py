"""A stream of CSV to rows, block by block, parsed in parallel in constant memory."""

import codecs
import io
import re
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

from tasks.errors import InputError
from tasks.logs.intake.csv_block import Layout, RawRows, parse_block

_BOM = b"\xef\xbb\xbf"
_MAX_LINE_BYTES = 16 << 20
_ENCODING_ADVICE = (
    "save it as UTF-8, or declare the encoding in the schema: file: {encoding: latin-1}"
)
_BLANK_LINES = re.compile(rb"(?: *\r?\n)*+")
UTF8 = ("utf-8", "utf-8-sig", "ascii")


def read_csv(
    stream: BinaryIO,
    file: str,
    *,
    encoding: str,
    find_layout: Callable[[str], tuple[Layout, bool]],
    block_bytes: int,
    n_threads: int = 2,
    span: tuple[int, int] | None = None,
) -> Iterator[RawRows]:
    """Yield the rows of a CSV stream block by block.

    `find_layout` is given the first line, and returns the layout and whether that line is a header. With 0 threads
    blocks are parsed one after the other. A `span` (end exclusive; whole blocks of a seekable stream) has the
    lines that begin with the first that is not complete before it; rows are numbered within it.

    Raises
    ------
    InputError
        If it is empty, has no header, or is not text.
    """
    if codecs.lookup(encoding).name not in UTF8:
        stream = _Recoded(stream, encoding)  # type: ignore[assignment]
    blocks = cut_at_lines(stream, file, block_bytes)
    first = next(blocks, b"").removeprefix(_BOM)
    line, rest, n_lines = _first_line(first, file)
    layout, is_header = find_layout(line)
    if not is_header:
        rest, n_lines = first, 0
    if span is not None and span[0]:
        rest, n_lines, blocks = b"", 0, cut_at_lines(stream, file, block_bytes, span)
    elif span is not None:
        blocks = cut_at_lines(stream, file, block_bytes, span)
        next(blocks, b"")
    yield from _parsed(_chain(rest, blocks), file, n_lines, layout, n_threads)


def _parsed(
    blocks: Iterator[bytes], file: str, n_lines: int, layout: Layout, n_threads: int
) -> Iterator[RawRows]:
    """Yield the rows of blocks, the first of which follows line `n_lines`."""
    if not n_threads:
        for block in blocks:
            yield parse_block(block, file, n_lines + 1, layout)
            n_lines += block.count(b"\n")
        return
    with ThreadPoolExecutor(n_threads) as pool:
        jobs: deque[Future[RawRows]] = deque()
        try:
            for block in blocks:
                jobs.append(pool.submit(parse_block, block, file, n_lines + 1, layout))
                n_lines += block.count(b"\n")
                if len(jobs) > n_threads:
                    yield jobs.popleft().result()
            while jobs:
                yield jobs.popleft().result()
        finally:
            for job in jobs:
                job.cancel()


def _chain(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from others


def cut_at_lines(
    stream: BinaryIO, file: str, block_bytes: int, span: tuple[int, int] | None = None
) -> Iterator[bytes]:
    """Yield blocks that end with a line; of a `span`, what the whole stream would give once it is at its beginning."""
    left = b""
    if span is not None:
        left = _line_before(stream, span[0], max(_MAX_LINE_BYTES, 2 * block_bytes))
        stream.seek(span[0])
    n_left = None if span is None else span[1] - span[0]
    while chunk := stream.read(block_bytes if n_left is None else min(block_bytes, n_left)):
        n_left = None if n_left is None else n_left - len(chunk)
        cut = chunk.rfind(b"\n") + 1
        block = b"".join((left, memoryview(chunk)[:cut])) if cut else b""  # copied once
        left = chunk[cut:] if cut else left + chunk
        if len(left) > max(_MAX_LINE_BYTES, 2 * block_bytes):
            raise InputError(f"{file}: no line break in {len(left) >> 20} MB; this is not CSV")
        if cut:
            yield block
    if left and (span is None or not stream.read(1)):
        yield left


def _line_before(stream: BinaryIO, place: int, max_bytes: int) -> bytes:
    """Return the beginning of the line that a place in a stream is in, at most `max_bytes` and a little."""
    left, step = b"", 64 << 10
    while place and b"\n" not in left and len(left) <= max_bytes:
        start = max(0, place - step)
        stream.seek(start)
        left, place = stream.read(place - start) + left, start
        step = min(2 * step, 1 << 20)
    return left[left.rfind(b"\n") + 1 :]


def _first_line(block: bytes, file: str) -> tuple[str, bytes, int]:
    """Return the first line that is not empty, what follows it, and the number of lines up to it."""
    if not block:
        raise InputError(f"{file}: the file is empty; expected CSV with a header line")
    if block.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in block.partition(b"\n")[0]:
        raise InputError(
            f"{file}: not UTF-8 text (it looks like UTF-16 or a binary file); {_ENCODING_ADVICE}"
        )
    blank = _BLANK_LINES.match(block)
    start = blank.end() if blank else 0
    line, _, rest = block[start:].partition(b"\n")
    n_lines = block.count(b"\n", 0, start) + 1
    if not line.strip(b" \r"):
        raise InputError(f"{file}: nothing but empty lines; expected CSV with a header line")
    try:
        return line.removesuffix(b"\r").decode(), rest, n_lines
    except UnicodeDecodeError:
        raise InputError(f"{file}: not UTF-8 text (line {n_lines}); {_ENCODING_ADVICE}") from None


class _Recoded(io.RawIOBase):
    """A stream of another encoding as UTF-8; bytes that are no text in it stay no text."""

    def __init__(self, stream: BinaryIO, encoding: str):
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="surrogateescape")

    def read(self, size: int = -1) -> bytes:
        raw = self._stream.read(size)
        while raw:
            text = self._decoder.decode(raw)
            if text:
                return text.encode(errors="surrogateescape")
            raw = self._stream.read(size)
        return self._decoder.decode(b"", final=True).encode(errors="surrogateescape")
