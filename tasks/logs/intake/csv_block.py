"""Lines of CSV to columns of text, with every bad line accounted for.

A line is a row: quotes may hold commas but no line breaks, so that a stray quote damages only its own
line. Blocks without quotes are read by :mod:`tasks.logs.intake.csv_codes`, others by Arrow; in a block that has anything
unusual, each line is judged by itself first (:mod:`tasks.logs.intake.csv_line`). The result does not depend on where blocks were cut.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from tasks.logs.intake.csv_codes import coded_columns
from tasks.logs.intake.csv_line import BACKSLASH, COLUMNS, LineRule
from tasks.schemas.forms import FileForm

_CACHE_BYTES = 1 << 20  # Arrow is quickest on pieces that fit into the processor's cache


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is not a row: its number in the file (the header is 1), the reason, and its text."""

    number: int
    reason: str
    text: str


@dataclass
class RawRows:
    """Rows as read: columns of any type, the number of each row in its file, and lines that are not rows.

    ``text(i)`` returns row ``i`` as in the file; it is called for bad rows only. ``n_lines`` of a text file have been
    read when these rows have.
    """

    file: str
    columns: dict[str, pa.Array]
    numbers: np.ndarray
    text: Callable[[int], str]
    bad: list[BadLine] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    n_lines: int = 0


@dataclass(frozen=True)
class Layout:
    """Which columns of a CSV to keep, and as which type."""

    n_columns: int
    kept: dict[str, int]  # name: place
    plain: frozenset[str]  # kept as text; the others as dictionary codes
    form: FileForm  # its separator is known

    def parse(
        self, block: bytes, on_invalid: Callable[..., str], *, block_size: int = _CACHE_BYTES
    ) -> pa.Table:
        """Parse lines with Arrow; ArrowInvalid if it cannot."""
        form = self.form
        if form.escape and form.escape.encode() in block:
            block = _only_real_escapes(block, form)
        names = [str(place) for place in range(self.n_columns)]
        types = {str(place): pa.string() for place in self.kept.values()}
        return pa_csv.read_csv(
            pa.BufferReader(block),
            read_options=pa_csv.ReadOptions(
                column_names=names, block_size=block_size, use_threads=False
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=str(form.separator),
                quote_char=form.quote or False,
                escape_char=form.escape or False,
                ignore_empty_lines=False,
                invalid_row_handler=on_invalid,
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                null_values=[],
                strings_can_be_null=False,
                check_utf8=False,  # checked before, for whole lines rather than these columns
            ),
        )


def _only_real_escapes(block: bytes, form: FileForm) -> bytes:
    """Double each escape that stands before a letter that needs none, so that both are kept."""
    escape = str(form.escape).encode()
    marks = re.escape("".join(filter(None, (form.escape, form.quote, form.separator))).encode())
    pattern = re.compile(re.escape(escape) + rb"([" + marks + rb"])|" + re.escape(escape))
    return pattern.sub(lambda found: found[0] if found[1] else escape * 2, block)


def parse_block(block: bytes, file: str, first_number: int, layout: Layout) -> RawRows:
    """Return the rows of whole lines, the first of which has the number `first_number`."""
    bad: list[tuple[int, str, str]] = []
    notes: tuple[str, ...] = ()
    columns = _code_plain(block, layout)
    if columns is not None:
        places = np.arange(len(next(iter(columns.values()), ())))
    elif (found := _parse_whole(block, layout)) is not None:
        table, bad = found
        columns = _columns(table, layout)
        places = np.delete(np.arange(table.num_rows + len(bad)), [line[0] for line in bad])
    else:
        table, places, bad, notes = _parse_lines(block, layout)
        columns = _columns(table, layout)
    ends: list[np.ndarray] = []

    def text(row: int) -> str:
        if not ends:
            ends.append(_line_ends(block))
        place = int(places[row])
        start = int(ends[0][place - 1]) + 1 if place else 0
        return _decode(block[start : int(ends[0][place])])

    lines = [BadLine(first_number + place, reason, line) for place, reason, line in bad]
    n_lines = first_number - 1 + block.count(b"\n")
    return RawRows(file, columns, places + first_number, text, lines, notes, n_lines)


def _code_plain(block: bytes, layout: Layout) -> dict[str, pa.Array] | None:
    """Return the columns of a block without anything unusual, in one pass; None if it has to be parsed."""
    form = layout.form
    marks = [mark.encode() for mark in (form.quote, form.escape, "\r") if mark]
    if layout.n_columns < 2 or not layout.kept or any(mark in block for mark in marks):
        return None
    if not _is_text(block):
        return None
    return coded_columns(
        block, separator=str(form.separator), n_columns=layout.n_columns, places=layout.kept, plain=layout.plain
    )  # fmt: skip


def _columns(table: pa.Table, layout: Layout) -> dict[str, pa.Array]:
    """Return text columns by name, those that are not plain as dictionaries."""
    found = {}
    for name, place in layout.kept.items():
        texts = table.column(str(place))
        found[name] = (
            texts if name in layout.plain else texts.dictionary_encode()
        ).combine_chunks()
    return found


def _line_ends(block: bytes) -> np.ndarray:
    """Return the place of the line break of each line, int64; that of a last line without one is the end."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
    return ends if block.endswith(b"\n") else np.append(ends, len(block))


def _decode(line: bytes) -> str:
    return line.removesuffix(b"\r").decode(errors="backslashreplace")


def _parse_whole(
    block: bytes, layout: Layout
) -> tuple[pa.Table, list[tuple[int, str, str]]] | None:
    """Return table and bad lines (counted from 0), or None if each line has to be looked at."""
    if _has_odd_lines(block) or not _quotes_are_plain(block, layout.form):
        return None
    bad: list[tuple[int, str, str]] = []

    def keep(row: pa_csv.InvalidRow) -> str:
        bad.append((row.number - 1, COLUMNS, row.text))
        return "skip"

    try:
        table = layout.parse(block, keep)
    except pa.ArrowInvalid:  # a line longer than Arrow's block
        return None
    n_lines = block.count(b"\n") + (not block.endswith(b"\n"))
    return (table, bad) if table.num_rows + len(bad) == n_lines else None


def _has_odd_lines(block: bytes) -> bool:
    """Return whether there are empty lines, carriage returns within a line, or bytes that are not text."""
    if not _is_text(block):
        return True
    if block.startswith((b"\n", b"\r\n")) or b"\n\n" in block:
        return True
    n_returns = block.count(b"\r")
    return bool(n_returns) and (n_returns != block.count(b"\r\n") or b"\n\r\n" in block)


def _is_text(block: bytes) -> bool:
    """Return whether bytes are UTF-8."""
    if block.isascii():
        return True
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def _quotes_are_plain(block: bytes, form: FileForm) -> bool:
    """Return whether every quote begins or ends a value, or is doubled within one, on one line."""
    if not form.quote or form.quote.encode() not in block:
        return True
    if form.escape and form.escape.encode() in block:
        marks = re.escape((form.escape + form.quote).encode())
        block = re.sub(re.escape(form.escape.encode()) + rb"[" + marks + rb"]", b"..", block)
    elif not form.escape and BACKSLASH + form.quote.encode() in block:
        return False
    letters = np.frombuffer(block, np.uint8)
    quotes = np.flatnonzero(letters == ord(form.quote))
    if quotes.size % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    breaks = np.flatnonzero(letters == ord("\n"))
    if (np.searchsorted(breaks, opening) != np.searchsorted(breaks, closing)).any():
        return False
    doubled = opening[1:] == closing[:-1] + 1
    edges = np.isin(letters, np.frombuffer(f"{form.separator}\n\r".encode(), np.uint8))
    before = np.where(opening > 0, edges[opening - 1], True)
    after = np.where(closing + 1 < letters.size, edges[(closing + 1) % letters.size], True)
    before[1:] |= doubled
    after[:-1] |= doubled
    return bool(before.all() and after.all())


def _parse_lines(
    block: bytes, layout: Layout
) -> tuple[pa.Table, np.ndarray, list[tuple[int, str, str]], tuple[str, ...]]:
    """Return the table of the lines that are rows, their places, and the bad lines; empty lines are neither."""
    rule = LineRule(layout.form, layout.n_columns)
    ends = _line_ends(block)
    starts = np.concatenate([[0], ends[:-1] + 1])
    filled = np.flatnonzero(ends > starts)
    rows: dict[str | None, list[tuple[int, bytes]]] = {}
    bad = []
    bounds = zip(filled.tolist(), starts[filled].tolist(), ends[filled].tolist(), strict=True)
    for place, start, end in bounds:
        line = block[start:end].removesuffix(b"\r")
        if not line:
            continue
        escape, reason = rule(line)
        if reason:
            bad.append((place, reason, _decode(line)))
        else:
            rows.setdefault(escape, []).append((place, line))
    tables, places = [], []
    for escape, found in rows.items() or [(layout.form.escape, [])]:
        kind = replace(layout, form=replace(layout.form, escape=escape))
        tables.append(_parse_good([line for _, line in found], kind))
        places += [place for place, _ in found]
    table, order = pa.concat_tables(tables), np.argsort(places, kind="stable")
    if len(tables) > 1:
        table = table.take(pa.array(order))
    note = f"quotes after a backslash were read as part of the value; say so in the schema: file: {{escape: '{BACKSLASH.decode()}'}}"
    notes = (note,) if rows.keys() - {layout.form.escape} else ()
    return table, np.array(places, dtype=np.int64)[order], bad, notes


def _parse_good(lines: list[bytes], layout: Layout) -> pa.Table:
    """Return the table of lines that are known to be rows."""
    if not lines:
        names = [str(place) for place in layout.kept.values()]
        return pa.schema([(name, pa.string()) for name in names]).empty_table()
    joined = b"\n".join(lines) + b"\n"
    table = layout.parse(joined, lambda _: "skip", block_size=2 * len(joined) + 1)
    if table.num_rows != len(lines):
        raise RuntimeError(f"{len(lines)} lines were parsed as {table.num_rows} rows")
    return table
