"""Text in every dialect, and lines that are no rows: the same whatever the blocks are."""

import csv
import io

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import InputError
from tasks.ingest import ingest_log
from tasks.logs.intake.csv_block import Layout, parse_block
from tasks.schema import Schema
from tasks.schemas.forms import FileForm
from tests.logs import HEADER, SMALL, read_all, rows

LINES = rows(40)


def layout_of(form: FileForm, n_columns: int = 2) -> Layout:
    """Return a layout that keeps every column as text."""
    kept = {f"c{place}": place for place in range(n_columns)}
    return Layout(n_columns, kept, frozenset(kept), form)


def cells_of(block: bytes, form: FileForm) -> tuple[list[tuple[str, ...]], list[tuple[int, str]]]:
    """Return rows, and number and reason of the bad lines."""
    found = parse_block(block, "f", 1, layout_of(form))
    values = zip(*(column.to_pylist() for column in found.columns.values()), strict=True)
    return list(values), [(line.number, line.reason) for line in found.bad]


@given(
    st.lists(st.tuples(*[st.text(st.sampled_from('ab",;\\ é'), max_size=6)] * 2), max_size=8),
    st.sampled_from([",", ";", "\t", "|"]),
)
def test_what_python_writes_is_what_is_read(table, separator):
    """Quotes doubled, any separator; the reference is the standard library."""
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(
        table
    )
    form = FileForm(separator=separator)
    assert cells_of(out.getvalue().encode(), form) == (table, [])


@given(st.lists(st.tuples(*[st.text(st.sampled_from('ab",\\x'), max_size=6)] * 2), max_size=8))
def test_an_escape_is_read_as_it_is_written(table):
    """A backslash before a quote or itself."""
    marked = [[cell.replace("\\", "\\\\").replace('"', '\\"') for cell in row] for row in table]
    block = "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in marked).encode()
    form = FileForm(separator=",", escape="\\")
    assert cells_of(block, form) == (table, [])
    assert cells_of(b"x\n" + block, form) == (table, [(1, "wrong number of columns")])


@pytest.mark.parametrize(
    ("line", "cells"),
    [(r'"say \"a, b\"",c', ('say "a, b"', "c")), (r'"C:\dir\",c', ("C:\\dir\\", "c")), (r'5" wide,c', ('5" wide', "c")), (r'"\"5.0\" X",c', ('"5.0" X', "c")), (r'"C:\dir \"x\"",c', ('C:\\dir "x"', "c"))],
)  # fmt: skip
def test_a_backslash_is_an_escape_where_nothing_else_makes_a_row(line, cells):
    """Other backslashes stay."""
    assert cells_of(f"a,b\n{line}\na,b\n".encode(), FileForm(separator=",")) == (
        [("a", "b"), cells, ("a", "b")],
        [],
    )


@given(
    st.lists(st.sampled_from(['a,b', '"a,b",c', '"a"b,c', '"a,b', 'a', 'a,b,c', '', '\r', 'a\rb,c', '"a""b",c', '5",6"', '"a","b"\r', r'"a\"b",c', '"']), min_size=1, max_size=9),
    st.integers(1, 8),
)  # fmt: skip
def test_a_line_is_judged_alike_in_every_block(lines, cut):
    """Alone or among others."""
    form = FileForm(separator=",")
    whole = cells_of(("\n".join(lines) + "\n").encode(), form)
    parts = [
        cells_of(("\n".join(part) + "\n").encode(), form)
        for part in (lines[:cut], lines[cut:])
        if part
    ]
    assert whole[0] == [row for rows_, _ in parts for row in rows_]
    assert [reason for _, reason in whole[1]] == [reason for _, bad in parts for _, reason in bad]


def test_a_line_longer_than_arrows_block_is_a_row():
    """It is parsed by itself."""
    long = "x" * (3 << 20)
    assert cells_of(f"a,b\n{long},c\n".encode(), FileForm(separator=","))[0] == [
        ("a", "b"),
        (long, "c"),
    ]


@pytest.mark.parametrize("mark", ["\t", ";", "|"])
@pytest.mark.parametrize("has_header", [True, False])
def test_the_separator_is_found(mark, has_header, tmp_path):
    """From the header, or from the number of declared columns."""
    raw = SMALL.to_dict() | ({} if has_header else {"file": {"columns": HEADER.split(",")}})
    lines = [HEADER, *LINES] if has_header else LINES
    (tmp_path / "a.txt").write_text("\n".join(lines).replace(",", mark) + "\n")
    found = ingest_log(str(tmp_path / "a.txt"), tmp_path / "log", schema=Schema.from_dict(raw))
    assert (found["n_rows"], found["notes"]) == (40, [])


def test_a_file_without_a_header_is_told_so(tmp_path):
    """The line names the key to write."""
    (tmp_path / "a.tsv").write_text("\n".join(LINES).replace(",", "\t"))
    with pytest.raises(InputError, match=r"if the file has no header, name its columns.*columns:"):
        ingest_log(str(tmp_path / "a.tsv"), tmp_path / "log", schema=SMALL)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252"])
def test_other_encodings_are_declared(encoding, tmp_path):
    """Texts are what they were."""
    lines = [HEADER, *(line.replace(",s", ",été") for line in LINES)]
    (tmp_path / "a.csv").write_bytes("\n".join(lines).encode(encoding))
    schema = Schema.from_dict(SMALL.to_dict() | {"file": {"encoding": encoding}})
    ingest_log(str(tmp_path / "a.csv"), tmp_path / "log", schema=schema, block_bytes=101)
    assert {row["site"] for row in read_all(tmp_path / "log")} == {f"été{n}" for n in range(7)}


def test_blank_lines_before_the_header_are_counted(tmp_path):
    """A bad row has its number in the file."""
    text = "\n \r\n\n" + "\n".join([HEADER, "a,b", *LINES])
    (tmp_path / "a.csv").write_text(text, newline="")
    ingest_log(str(tmp_path / "a.csv"), tmp_path / "log", schema=SMALL, max_bad_share=0.5)
    bad = pa.parquet.read_table(tmp_path / "log" / "quarantine.parquet").to_pylist()
    assert [row["row"] for row in bad] == [5]
