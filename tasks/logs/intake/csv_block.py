"""Lines of CSV to columns of text, with every bad line accounted for.

A line is a row: quotes may hold commas but no line breaks, so that a stray quote damages only its own
line. Arrow parses whole blocks; a block in which rows and lines differ in number is bisected. The result
does not depend on where blocks were cut.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

COLUMNS = "wrong number of columns"
QUOTES = "stray quote or line break"
ENCODING = "not UTF-8 text"
_CACHE_BYTES = 1 << 20  # Arrow is quickest on pieces that fit into the processor's cache


@dataclass(frozen=True)
class BadLine:
    """A line that is not a row: its number in the file (the header is 1), the reason, and its text."""

    number: int
    reason: str
    text: str


@dataclass
class RawRows:
    """Rows as read: columns of any type, the number of each row in its file, and lines that are not rows.

    ``text(i)`` returns row ``i`` as in the file; it is called for bad rows only.
    """

    file: str
    columns: dict[str, pa.Array]
    numbers: np.ndarray
    text: Callable[[int], str]
    bad: list[BadLine] = field(default_factory=list)
    counted_in: str = "line"


@dataclass(frozen=True)
class Layout:
    """Which columns of a CSV to keep, and as which type."""

    n_columns: int
    kept: dict[str, int]  # name: place
    plain: frozenset[str]  # kept as text; the others as dictionary codes

    def parse(self, block: bytes, on_invalid: Callable[..., str]) -> pa.Table:
        """Parse lines with Arrow; ArrowInvalid if it cannot."""
        names = [str(place) for place in range(self.n_columns)]
        types = {str(place): pa.string() for place in self.kept.values()}
        return pa_csv.read_csv(
            pa.BufferReader(block),
            read_options=pa_csv.ReadOptions(
                column_names=names, block_size=_CACHE_BYTES, use_threads=False
            ),
            parse_options=pa_csv.ParseOptions(
                ignore_empty_lines=False, invalid_row_handler=on_invalid
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                null_values=[],
                strings_can_be_null=False,
                check_utf8=False,  # checked before, for whole lines rather than these columns
            ),
        )


def parse_block(block: bytes, file: str, first_number: int, layout: Layout) -> RawRows:
    """Return the rows of whole lines, the first of which has the number `first_number`."""
    found = None if _has_odd_lines(block) else _parse_whole(block, layout)
    if found is not None:
        table, bad = found
        n_rows = table.num_rows + len(bad)
        numbers = np.delete(np.arange(n_rows), [number for number, _ in bad])
        return _rows(
            block, file, first_number, layout, [table], numbers, [(n, COLUMNS, t) for n, t in bad]
        )
    lines = block.split(b"\n")
    good, bad_lines = _sort_out(lines)
    tables, numbers_, odd = [], [], []
    for part in _bisect(lines, good, layout):
        if part.table is None:
            odd.append((part.places[0], QUOTES, _decode(lines[part.places[0]])))
            continue
        odd += [(part.places[number], COLUMNS, text) for number, text in part.bad]
        skipped = {number for number, _ in part.bad}
        tables.append(part.table)
        numbers_ += [place for number, place in enumerate(part.places) if number not in skipped]
    return _rows(
        block,
        file,
        first_number,
        layout,
        tables,
        np.array(numbers_, dtype=np.int64),
        sorted(bad_lines + odd),
    )


def _has_odd_lines(block: bytes) -> bool:
    """Return whether there are empty lines, carriage returns within a line, or bytes that are not text."""
    if not block.isascii():
        try:
            block.decode()
        except UnicodeDecodeError:
            return True
    if block.startswith((b"\n", b"\r\n")) or b"\n\n" in block:
        return True
    n_returns = block.count(b"\r")
    return bool(n_returns) and (n_returns != block.count(b"\r\n") or b"\n\r\n" in block)


def _parse_whole(block: bytes, layout: Layout) -> tuple[pa.Table, list[tuple[int, str]]] | None:
    """Return table and bad lines (counted from 0), or None if lines and rows do not agree."""
    n_lines = block.count(b"\n") + (not block.endswith(b"\n"))
    quoted = b'"' in block
    if quoted:  # a sentinel row, removed again, which an open quote before it would swallow
        block = (
            block
            + (b"" if block.endswith(b"\n") else b"\n")
            + b"," * (layout.n_columns - 1)
            + b"\n"
        )
    bad: list[tuple[int, str]] = []

    def keep(row: pa_csv.InvalidRow) -> str:
        bad.append((row.number - 1, row.text))
        return "skip"

    try:
        table = layout.parse(block, keep)
    except pa.ArrowInvalid:
        return None
    if table.num_rows + len(bad) != n_lines + quoted:
        return None
    return (table.slice(0, table.num_rows - 1) if quoted else table), bad


def _sort_out(lines: list[bytes]) -> tuple[list[int], list[tuple[int, str, str]]]:
    """Return the places of lines to parse, and the bad lines; empty lines are neither."""
    good, bad = [], []
    for place, line in enumerate(lines):
        line = line.removesuffix(b"\r")
        if not line:
            continue
        try:
            line.decode()
        except UnicodeDecodeError:
            bad.append((place, ENCODING, _decode(line)))
            continue
        if b"\r" in line:
            bad.append((place, QUOTES, _decode(line)))
        else:
            good.append(place)
    return good, bad


@dataclass(frozen=True)
class _Part:
    places: Sequence[int]
    table: pa.Table | None
    bad: list[tuple[int, str]]


def _bisect(lines: list[bytes], places: list[int], layout: Layout) -> Iterator[_Part]:
    """Yield lines parsed in parts as large as possible in which rows and lines agree."""
    if not places:
        return
    found = _parse_whole(
        b"\n".join(lines[place].removesuffix(b"\r") for place in places) + b"\n", layout
    )
    if found is not None:
        yield _Part(places, *found)
    elif len(places) == 1:
        yield _Part(places, None, [])
    else:
        half = len(places) // 2
        yield from _bisect(lines, places[:half], layout)
        yield from _bisect(lines, places[half:], layout)


def _decode(line: bytes) -> str:
    return line.removesuffix(b"\r").decode(errors="backslashreplace")


def _rows(block, file, first_number, layout, tables, places, bad) -> RawRows:
    columns = {}
    for name, place in layout.kept.items():
        chunks = [chunk for table in tables for chunk in table.column(str(place)).chunks]
        texts = pa.chunked_array(chunks, type=pa.string())
        columns[name] = (
            texts if name in layout.plain else texts.dictionary_encode()
        ).combine_chunks()
    lines: list[bytes] = []

    def text(row: int) -> str:
        if not lines:
            lines.extend(block.split(b"\n"))
        return _decode(lines[places[row]])

    found = [BadLine(first_number + place, reason, line) for place, reason, line in bad]
    return RawRows(file, columns, places + first_number, text, found)
