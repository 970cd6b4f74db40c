"""The closing table, as whoever waited for it sees it."""

from io import StringIO

import pytest
from rich.console import Console

from tasks.errors import InputError
from tests.rehearsal.table import Row, closing_table, timed

GOOD = Row("a task that fails once is tried again", True, 12.3, "exit codes [1, 0]", "")
BAD = Row(
    "the load is borne", False, 40.0, "not shown: 3 tasks", "the load balancer (a local proxy)"
)


def seen(*rows, seconds=583.2, images=()):
    """Return the lines of the table on a screen of 100 columns."""
    console = Console(width=100, file=StringIO())
    console.print(closing_table(rows, seconds, images))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("rows", "title"),
    [
        ((GOOD, GOOD), "Rehearsal: all 2 shown in 9 min 43 s"),
        ((GOOD, BAD), "Rehearsal: 1 of 2 shown in 9 min 43 s"),
    ],
)
def test_first_line_says_how_it_went(rows, title):
    """Before anything else is read."""
    assert seen(*rows)[0].strip() == title


def test_row_says_what_was_seen_and_what_was_simulated():
    """Brackets of what was seen are no markup; what is all real has a dash."""
    good, bad = (line for line in seen(GOOD, BAD) if line.startswith((" yes", " NO")))
    assert good.split() == [
        *["yes", "12", "a", "task", "that", "fails", "once", "is", "tried", "again", "-"]
    ]
    assert "the load balancer" in bad
    assert any("exit codes [1, 0]" in line for line in seen(GOOD))


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ((), "Containers are processes of this machine"),
        (
            ["clicklab-pipeline:1"],
            "Containers are real: podman's, of the built images clicklab-pipeline:1",
        ),
    ],
)
def test_last_lines_say_what_containers_were(images, said):
    """Whatever else was real, this decides what was shown of the images."""
    assert said in " ".join(" ".join(seen(GOOD, images=images)).split())


def test_row_tells_what_went_wrong():
    """A scenario that was not shown is a row, not a traceback."""

    def fail() -> str:
        raise InputError("not shown: success")

    row = timed("it works", fail, simulated="all of it")
    assert (row.is_shown, row.seen, row.simulated) == (False, "not shown: success", "all of it")
