"""Plain lines of CSV to dictionary columns in one pass."""

from types import MappingProxyType

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.logs.intake.csv_block import Layout, _columns, parse_block
from tasks.logs.intake.csv_codes import coded_columns
from tasks.schemas.forms import FileForm

NAMES = MappingProxyType({"id": 0, "site": 1, "tag": 3})
LAYOUT = Layout(4, dict(NAMES), frozenset({"id"}), FileForm(separator=","))
VALUES = st.text(st.characters(exclude_characters=',"\r\n', exclude_categories=["Cs"]), max_size=20)


def coded(block, separator=","):
    """Return the columns of a block of four columns."""
    return coded_columns(
        block, separator=separator, n_columns=4, places=NAMES, plain=frozenset({"id"})
    )


@given(st.lists(st.tuples(*[VALUES] * 4), min_size=1, max_size=30), st.booleans())
def test_columns_are_those_of_arrow(rows, ends_with_break):
    """Any text without separators, quotes and line breaks: the same texts, codes and order of values."""
    block = "\n".join(map(",".join, rows)).encode() + b"\n" * ends_with_break
    found = coded(block)
    wanted = _columns(LAYOUT.parse(block + b"\n" * (not ends_with_break), lambda _: "skip"), LAYOUT)
    assert {name: column.type for name, column in found.items()} == {
        name: column.type for name, column in wanted.items()
    }
    assert all(found[name].equals(wanted[name]) for name in NAMES)


def test_values_are_numbered_by_their_first_appearance():
    """Equal values share a code; those that begin with the same eight letters do not."""
    lines = ["1,abcdefgh1,x,", "2,abcdefgh2,x,a", "3,abcdefgh1,x,", "4,abcdefgh,x,a"]
    found = coded("\n".join(lines).encode())
    assert found["id"].to_pylist() == ["1", "2", "3", "4"]
    assert found["site"].indices.to_pylist() == [0, 1, 0, 2]
    assert found["site"].dictionary.to_pylist() == ["abcdefgh1", "abcdefgh2", "abcdefgh"]
    assert found["tag"].dictionary.to_pylist() == ["", "a"]


def test_many_distinct_values_keep_their_own_codes():
    """More than the table of a small block could hold by chance: each code leads back to its text."""
    texts = [f"{n:09d}" for n in range(5000)] * 2
    found = coded("".join(f"{n},{text},x,{text[-2:]}\n" for n, text in enumerate(texts)).encode())
    assert found["site"].to_pylist() == texts
    assert len(found["site"].dictionary) == 5000
    assert len(found["tag"].dictionary) == 100


def test_another_separator():
    """A comma is then a letter."""
    assert coded(b"1\ta,b\tx\tc\n", separator="\t")["site"].to_pylist() == ["a,b"]


@pytest.mark.parametrize(
    "block", [b"", b"1,a,b\n", b"1,a,b,c,d\n", b"1,a,b,c\n\n", b"1,a,b,c\n2,a\n", b"1,a,b,c\n2,a"]
)
def test_lines_with_more_or_fewer_values_are_not_plain(block):
    """Whoever judges single lines has to look at them."""
    assert coded(block) is None


def test_a_block_with_one_bad_line_loses_only_that_line():
    """The other path takes over, and finds the same columns."""
    good = b"".join(b"%d,s%d,x,t\n" % (n, n % 3) for n in range(9))
    found = parse_block(good + b"9,only\n", "f", 2, LAYOUT)
    plain = parse_block(good, "f", 2, LAYOUT)
    assert [line.number for line in found.bad] == [11]
    assert all(found.columns[name].equals(plain.columns[name]) for name in NAMES)
    assert isinstance(found.columns["site"], pa.DictionaryArray)
