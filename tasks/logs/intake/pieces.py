"""A source cut into pieces that can be read side by side: files, and ranges of large files of plain text.

The rows and the log are the same however a source is cut. A range begins and ends where a block would
(:func:`tasks.logs.intake.csv_rows.read_csv`), so that even blocks are the same.
"""

import codecs
from collections.abc import Callable
from dataclasses import dataclass

from tasks.logs.intake.archives import is_plain_text
from tasks.logs.intake.csv_rows import UTF8
from tasks.logs.intake.readers import is_json
from tasks.logs.sources import SourceFile, list_files
from tasks.schema import Schema

Note = Callable[[str], None]


@dataclass(frozen=True)
class Piece:
    """Some files of a source, or the bytes of a span (end exclusive) of one; a simulated log has no files."""

    source: str
    number: int
    files: tuple[SourceFile, ...] = ()
    span: tuple[int, int] | None = None


def cut_source(
    source: str, schema: Schema, note: Note, *, n_pieces: int, min_bytes: int, block_bytes: int
) -> list[Piece]:
    """Return the pieces of a source, in order.

    Parameters
    ----------
    note
        Called with what is not read.
    n_pieces
        About how many are wanted; with 1, the source is one piece.
    min_bytes
        Size below which a piece is not worth its overhead.
    block_bytes
        Ranges are whole numbers of blocks.

    Raises
    ------
    InputError
        If there is nothing to read.
    """
    if source.startswith("sim://"):
        return [Piece(source, 0)]
    files = list_files(source, note)
    if n_pieces == 1:
        return [Piece(source, 0, tuple(files))]
    size = max(sum(file.size_bytes for file in files) // n_pieces, min_bytes, 1)
    spans = -(-size // block_bytes) * block_bytes
    found: list[tuple[tuple[SourceFile, ...], tuple[int, int] | None]] = []
    waiting: list[SourceFile] = []
    for file in files:
        if file.size_bytes > 2 * spans and _is_divisible(file, schema, block_bytes):
            found += [(tuple(waiting), None)] if waiting else []
            waiting = []
            starts = range(0, file.size_bytes, spans)
            found += [((file,), (at, min(at + spans, file.size_bytes))) for at in starts]
            continue
        waiting.append(file)
        if sum(one.size_bytes for one in waiting) >= size:
            found.append((tuple(waiting), None))
            waiting = []
    found += [(tuple(waiting), None)] if waiting else []
    return [Piece(source, number, *one) for number, one in enumerate(found)]


def _is_divisible(file: SourceFile, schema: Schema, block_bytes: int) -> bool:
    """Return whether a file is lines of CSV as they are, the first of which is no longer than a block."""
    if codecs.lookup(schema.file.encoding).name not in UTF8 or is_json(file.uri):
        return False
    with file.open() as handle:
        return is_plain_text(handle, file.uri) and b"\n" in handle.read(block_bytes)
