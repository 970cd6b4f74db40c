"""One line of CSV: a row of so many columns, or the reason why not."""

import re

from tasks.schemas.forms import FileForm

COLUMNS = "wrong number of columns"
QUOTES = "stray quote or line break"
ENCODING = "not UTF-8 text"
BACKSLASH = b"\\"


class LineRule:
    r"""Judges lines; a quote may begin a value, and then ends it, or be a letter within one that began without.

    Where no escape is declared, a line with a backslash before a quote is read with it as an escape if that is the only
    way to make it a row.

    Parameters
    ----------
    form, n_columns
        How the file is written (its separator is known), and its number of columns.

    Examples
    --------
    >>> rule = LineRule(FileForm(separator=","), 2)
    >>> rule(b'"a,b",c'), rule(b"a,b,c"), rule(b'"a,b'), rule(rb'"say \"a\" or b",c')
    ((None, ''), (None, 'wrong number of columns'), (None, 'stray quote or line break'), ('\\', ''))
    """

    def __init__(self, form: FileForm, n_columns: int):
        self._form = form
        self._separator = str(form.separator).encode()
        self._quote = form.quote.encode() if form.quote else None
        self._n_columns = n_columns
        self._row = _rows_of(self._separator, self._quote, form.escape, n_columns)
        self._any = _rows_of(self._separator, self._quote, form.escape, None)
        self._may_escape = not form.escape and form.quote == '"'
        if self._may_escape:
            self._escaped = _rows_of(self._separator, self._quote, "\\", n_columns)

    def __call__(self, line: bytes) -> tuple[str | None, str]:
        """Return the escape that makes the line a row and an empty reason, or why it is none."""
        form = self._form
        if not line.isascii():
            try:
                line.decode()
            except UnicodeDecodeError:
                return form.escape, ENCODING
        if b"\r" in line:
            return form.escape, QUOTES
        has_quote = self._quote is not None and self._quote in line
        if not has_quote and not form.escape:
            n_columns = line.count(self._separator) + 1
            return None, "" if n_columns == self._n_columns else COLUMNS
        if self._row.fullmatch(line):
            return form.escape, ""
        if self._may_escape and BACKSLASH + b'"' in line and self._escaped.fullmatch(line):
            return "\\", ""
        return form.escape, COLUMNS if self._any.fullmatch(line) else QUOTES


def _rows_of(
    separator: bytes, quote: bytes | None, escape: str | None, n_columns: int | None
) -> re.Pattern[bytes]:
    """Return the pattern of a row; it never goes back, so that a long line costs no more than its length."""
    mark = re.escape(separator)
    apart = mark + (re.escape(quote) if quote else b"")
    mask = re.escape(escape.encode()) if escape else b""
    escaped = mask + rb"[" + mask + apart + rb"]|" + mask + rb"|" if escape else b""
    first, rest = (
        rb"(?:%s[^%s%s])" % (escaped, apart, mask),
        rb"(?:%s[^%s%s])*+" % (escaped, mark, mask),
    )
    value = rb"(?:%s%s)?+" % (first, rest)
    if quote:
        q = re.escape(quote)
        inner = rb"(?:%s[^%s%s]|%s%s)*+" % (escaped, q, mask, q, q)
        value = rb"(?:%s%s%s|%s)" % (q, inner, q, value)
    more = b"*+" if n_columns is None else b"{%d}+" % (n_columns - 1)
    return re.compile(rb"%s(?:%s%s)%s" % (value, mark, value, more), re.DOTALL)
