"""How a text file is written, by its first lines."""

import pytest

from tasks.errors import InputError
from tasks.logs.inference.text_form import sniff

LINES = ["2024-05-01 00:00:00,0,p1,ios", "2024-05-01 01:00:00,1,p2,android"] * 20
HEADER = "ts,click,page,os"


def form_of(lines, *, encoding="utf-8", is_whole=True):
    return sniff("\n".join(lines).encode(encoding), "log.txt", is_whole=is_whole)


@pytest.mark.parametrize("mark", [",", "\t", ";", "|", "\x01"])
def test_the_separator_is_the_one_that_gives_all_lines_the_same_columns(mark):
    """A comma within the values of a file of tabs is a letter."""
    lines = [
        line.replace(",", mark).replace("p2", "p,2" if mark != "," else "p2")
        for line in [HEADER, *LINES]
    ]
    found = form_of(lines)
    assert (found.form.separator, found.columns) == (mark, ("ts", "click", "page", "os"))
    assert found.declared == ({} if mark == "," else {"separator": mark})


def test_a_file_without_a_header_gets_numbered_columns():
    """They are declared, because the file does not name them."""
    found = form_of(LINES)
    assert not found.has_header
    assert found.declared == {"columns": ["c1", "c2", "c3", "c4"]}


@pytest.mark.parametrize("first", ["1,a,b", "68fd1e64,x,y", "x,u,v"])
def test_a_first_line_of_values_is_no_header(first):
    """Numbers, hashes, and words that come again below are values."""
    assert not form_of([first, "x,a,b", "x,u,v", "y,w,v"]).has_header


def test_an_index_without_a_name_spoils_no_header():
    """As pandas writes one."""
    found = form_of([",click,page", "0,1,a", "1,0,b"])
    assert (found.has_header, found.columns) == (True, ("", "click", "page"))


def test_quotes_may_be_escaped_by_a_backslash():
    """Spark's way; a comma inside such a value separates nothing."""
    lines = [HEADER, *(r'2024-05-01,1,"say \"a, b\" now",ios' for _ in range(9))]
    assert form_of(lines).declared == {"escape": "\\"}


def test_quotes_that_pair_up_nowhere_are_letters():
    """An inch sign, in a file that never quotes."""
    lines = ["size;click;os", *(f'"{number} inch;0;ios' for number in range(9))]
    assert form_of(lines).declared == {"separator": ";", "quote": None}


@pytest.mark.parametrize(
    ("encoding", "found"), [("utf-16", "utf-16"), ("cp1252", "cp1252"), ("utf-8-sig", "utf-8")]
)
def test_the_encoding_is_found(encoding, found):
    """By the mark at the beginning, or because the bytes are no UTF-8."""
    assert (
        form_of([HEADER, *LINES, "2024-05-02,1,Zürich,ios"], encoding=encoding).form.encoding
        == found
    )


def test_a_line_that_was_cut_does_not_count():
    """The head of a file ends anywhere, also within a letter."""
    text = "\n".join([HEADER, *LINES, "2024-05-02,1,Zü"])
    assert sniff(text.encode()[:-1], "log.csv", is_whole=False).columns == (
        "ts",
        "click",
        "page",
        "os",
    )


@pytest.mark.parametrize("text", ["", "\n\n", "one column\nonly\n"])
def test_what_is_no_table_is_one_line(text):
    """It says what was found."""
    with pytest.raises(InputError, match=r"log\.csv: (the file is empty|no separator)"):
        sniff(text.encode(), "log.csv", is_whole=True)
