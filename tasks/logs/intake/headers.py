"""What the first line of a file says: how its columns are separated, and which of them the schema names."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace

from tasks.errors import InputError
from tasks.logs.intake.csv_block import Layout
from tasks.schema import Schema
from tasks.schemas.forms import FileForm

_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_SHOWN = 20
_ADVICE = "rename, or let `make schema DATA=...` write a first schema for this log (`schema` in env.yaml, now {!r})"

Note = Callable[[str], None]


class WrongColumns(InputError):
    """A file that lacks columns of the schema; among others that have them it is left out."""


def find_layout(
    line: str, *, file: str, schema: Schema, partition: Sequence[str], note: Note
) -> tuple[Layout, bool]:
    """Return the layout of a CSV by its first line, and whether that is a header.

    Parameters
    ----------
    line
        Without its line break.
    file, schema, note
        As for :func:`check_columns`.
    partition
        Columns that the file's folders give.

    Raises
    ------
    InputError
        If the line is no header and the schema names no columns, or a column is missing.
    """
    form = schema.file
    if form.columns:
        form, cells = _cells(line, form, [len(form.columns)])
        header, is_header = list(form.columns), cells == list(form.columns)
        if not is_header and {*cells} >= {*schema.required_columns} - {*partition}:
            header, is_header = cells, True
            note(f"{file} has a header, which was used instead of the schema's `columns`")
    else:
        form, header = _cells(line, form, schema.required_columns)
        is_header = True
        if not {*header} & {*schema.required_columns}:
            raise WrongColumns(_no_header(file, header, schema))
    kept = check_columns([*header, *partition], file, schema, note)
    plain = frozenset(name for name in (schema.id, schema.truth) if name)
    places = {name: header.index(name) for name in kept if name in header}
    return Layout(len(header), places, plain, form), is_header


def _cells(line: str, form: FileForm, wanted: Sequence[str | int]) -> tuple[FileForm, list[str]]:
    """Return the cells of a line, and the form with its separator: the one that gives most of the wanted names or number."""
    found = []
    for mark in [form.separator] if form.separator else _SEPARATORS:
        cells = cells_of(line, replace(form, separator=mark))
        found.append((len({*cells, len(cells)} & {*wanted}), mark, cells))
    _, mark, cells = max(found, key=lambda one: one[0])  # the first of equals: the comma
    return replace(form, separator=mark), cells


def cells_of(line: str, form: FileForm) -> list[str]:
    """Return the cells of a line."""
    quoting = {"quotechar": form.quote} if form.quote else {"quoting": csv.QUOTE_NONE}
    reader = csv.reader([line], delimiter=str(form.separator), escapechar=form.escape, **quoting)  # type: ignore[arg-type]
    try:
        return [name.strip() for name in next(reader)]
    except csv.Error:
        return [line]


def _no_header(file: str, found: Sequence[str], schema: Schema) -> str:
    names = schema.required_columns
    missing = _missing_columns(list(names), found)
    return (
        f"{file}: {missing}; if the file has no header, name its columns in the schema: file: {{columns: [...]}}; "
        f"else {_ADVICE.format(schema.name)}"
    )


def check_columns(found: Sequence[str], file: str, schema: Schema, note: Note) -> list[str]:
    """Return the columns of a file that the schema names; the others are reported to `note`.

    Raises
    ------
    InputError
        If a column of the schema is missing (:class:`WrongColumns`) or occurs twice.
    """
    missing = [name for name in schema.required_columns if name not in found]
    if missing:
        raise WrongColumns(
            f"{file}: {_missing_columns(missing, found)}; {_ADVICE.format(schema.name)}"
        )
    wanted = [
        *schema.required_columns,
        *([schema.truth] if schema.truth and schema.truth in found else []),
    ]
    twice = [name for name in wanted if list(found).count(name) > 1]
    if twice:
        raise InputError(f"{file}: column {twice[0]!r} occurs twice; drop or rename one")
    extra = [name for name in found if name not in wanted]
    if extra:
        shown = ", ".join(extra[:_SHOWN]) + (
            f" and {len(extra) - _SHOWN} more" if extra[_SHOWN:] else ""
        )
        note(f"columns that the schema does not name were ignored: {shown}")
    return wanted


def _missing_columns(missing: list[str], found: Sequence[str]) -> str:
    names = ", ".join(repr(name) for name in missing[:5]) + (
        f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    )
    shown = ", ".join(found[:8]) + (", ..." if len(found) > 8 else "")
    return f"missing {'column' if len(missing) == 1 else 'columns'} {names}; found {shown[:200].expandtabs(1)}"
