"""How a text file is written, by its first lines: encoding, separator, quotes, header or none."""

import codecs
import re
from collections import Counter
from dataclasses import dataclass, replace

from tasks.errors import InputError
from tasks.logs.intake.csv_line import BACKSLASH, LineRule
from tasks.logs.intake.headers import cells_of
from tasks.schemas.forms import FileForm

_SEPARATORS = ",\t;|\x01 "
_QUOTING = (('"', None), ('"', "\\"), (None, None))
_MAX_LINES, _MAX_COLUMNS = 300, 10_000
_VALUE = re.compile(r"[-+]?[\d.,:/ T%Z+-]*\d[\d.,:/ T%Z+-]*|(?=.*\d)[0-9a-fA-F-]{8,}|")  # no name


@dataclass(frozen=True)
class TextForm:
    """The form of a file, its columns, and whether its first line names them."""

    form: FileForm
    columns: tuple[str, ...]
    has_header: bool

    @property
    def declared(self) -> dict[str, object]:
        """The part of a schema that says so; empty for UTF-8 with commas and a header."""
        plain = FileForm(separator=",")
        keys = ("separator", "quote", "escape", "encoding")
        found = {
            key: getattr(self.form, key)
            for key in keys
            if getattr(self.form, key) != getattr(plain, key)
        }
        return found if self.has_header else found | {"columns": list(self.columns)}


def sniff(head: bytes, uri: str, *, is_whole: bool) -> TextForm:
    """Return the form of a file by its first bytes.

    Parameters
    ----------
    head
        The first bytes; `is_whole` says whether they are all.
    uri
        For messages.

    Raises
    ------
    InputError
        If there is one column only, or nothing.

    Examples
    --------
    >>> found = sniff(b"ts;click\\n1;0\\n2;1\\n", "a.csv", is_whole=True)
    >>> found.form.separator, found.columns, found.has_header
    (';', ('ts', 'click'), True)
    """
    encoding, text = _decoded(head)
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if not is_whole:
        lines.pop()  # cut in the middle
        if not lines:
            raise InputError(f"{uri}: no line break in {len(head) >> 10} KB; this is no table")
    lines = [line for line in lines if line.strip()][:_MAX_LINES]
    if not lines:
        raise InputError(f"{uri}: the file is empty; is the export complete?")
    form, n_columns = _best_form(lines)
    if n_columns < 2:
        raise InputError(
            f"{uri}: no separator among comma, tab, semicolon, bar and blank gives the lines the same number of columns "
            f"(the first line is {lines[0][:60]!r}); a schema needs a label and a field"
        )
    if n_columns > _MAX_COLUMNS:
        raise InputError(
            f"{uri}: {n_columns:,} columns in a line; a schema has {_MAX_COLUMNS:,} at most, is it one value per line?"
        )
    rows = [cells_of(line, form) for line in lines]
    has_header = _is_header(rows)
    named = rows[0] if has_header else [f"c{place}" for place in range(1, n_columns + 1)]
    return TextForm(replace(form, encoding=encoding), tuple(named), has_header)


def _decoded(head: bytes) -> tuple[str, str]:
    """Return the encoding and the text; a letter that is cut off at the end is left out."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", head.decode("utf-16", errors="ignore")
    head = head.removeprefix(codecs.BOM_UTF8)
    try:
        return "utf-8", codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        pass
    try:
        return "cp1252", head.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1", head.decode("latin-1")


def _best_form(lines: list[str]) -> tuple[FileForm, int]:
    """Return the form that makes most lines rows of the same number of columns, and that number."""
    found = []
    for separator in _SEPARATORS:
        for quote, escape in _QUOTING:
            form = FileForm(separator=separator, quote=quote, escape=escape)
            if max(line.count(separator) for line in lines) < 1:
                continue
            counts = Counter(len(cells_of(line, form)) for line in lines)
            n_columns = counts.most_common(1)[0][0]
            if n_columns > _MAX_COLUMNS:
                return form, n_columns
            rule = LineRule(form, n_columns)
            judged = [rule(line.encode(errors="replace")) for line in lines]
            n_rows = sum(not reason for _, reason in judged) if n_columns > 1 else 0
            if any(found_escape for found_escape, _ in judged):
                form = replace(form, escape=BACKSLASH.decode())
            found.append((n_rows, form, n_columns))
    if not found:
        return FileForm(), 1
    n_rows, form, n_columns = max(found, key=lambda one: one[0])  # the first of equals
    return form, n_columns if n_rows > len(lines) / 2 else 1


def _is_header(rows: list[list[str]]) -> bool:
    """Return whether the first row names columns: no numbers, no hashes, nothing that comes again below."""
    first, others = rows[0], rows[1:]
    names = first[1:] if not first[0] else first  # an index that has no name
    if len({*names}) < len(names) * 0.7 or any(_VALUE.fullmatch(name) for name in names):
        return False
    return not any(
        cell in {row[place] for row in others if len(row) > place}
        for place, cell in enumerate(first)
    )
