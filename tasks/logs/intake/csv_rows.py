"""A stream of CSV to rows, block by block, parsed in parallel in constant memory."""

import csv
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

from tasks.errors import InputError
from tasks.logs.intake.csv_block import Layout, RawRows, parse_block

_BOM = b"\xef\xbb\xbf"
_MAX_LINE_BYTES = 16 << 20


def read_csv(
    stream: BinaryIO,
    file: str,
    *,
    find_layout: Callable[[list[str]], Layout],
    block_bytes: int,
    n_threads: int = 2,
) -> Iterator[RawRows]:
    """Yield the rows of a CSV stream block by block; `find_layout` checks the header.

    Raises
    ------
    InputError
        If it is empty, has no header, or is not text.
    """
    blocks = _cut_at_lines(stream, file, block_bytes)
    first = next(blocks, b"")
    header, rest, n_lines = _read_header(first, file)
    layout = find_layout(header)
    with ThreadPoolExecutor(n_threads) as pool:
        jobs: deque[Future[RawRows]] = deque()
        try:
            for block in _chain(rest, blocks):
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


def _cut_at_lines(stream: BinaryIO, file: str, block_bytes: int) -> Iterator[bytes]:
    """Yield blocks that end with a line."""
    left = b""
    while chunk := stream.read(block_bytes):
        block = left + chunk
        cut = block.rfind(b"\n") + 1
        left = block[cut:]
        if len(left) > max(_MAX_LINE_BYTES, 2 * block_bytes):
            raise InputError(f"{file}: no line break in {len(left) >> 20} MB; this is not CSV")
        if cut:
            yield block[:cut]
    if left:
        yield left


def _read_header(block: bytes, file: str) -> tuple[list[str], bytes, int]:
    """Return column names, what follows them, and the number of lines they took."""
    if not block:
        raise InputError(f"{file}: the file is empty; expected CSV with a header line")
    if block.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in block.partition(b"\n")[0]:
        raise InputError(
            f"{file}: not UTF-8 text (it looks like UTF-16 or a binary file); save it as UTF-8 CSV"
        )
    block = block.removeprefix(_BOM)
    n_lines = 0
    while block:
        line, _, block = block.partition(b"\n")
        n_lines += 1
        if not line.strip():
            continue
        try:
            text = line.decode()
            return [name.strip() for name in next(csv.reader([text.rstrip("\r")]))], block, n_lines
        except UnicodeDecodeError:
            raise InputError(
                f"{file}: not UTF-8 text (line {n_lines}); save it as UTF-8 CSV"
            ) from None
        except csv.Error as error:
            raise InputError(
                f"{file}: line {n_lines} is not a CSV header ({error}); expected column names"
            ) from None
    raise InputError(f"{file}: nothing but empty lines; expected CSV with a header line")
