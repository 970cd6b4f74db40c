"""What was promoted is remembered, and only that is taken out."""

import json

import pytest

from tasks.errors import ConfigError, InputError
from tasks.ideas.edits import Changes
from tasks.ideas.records import RECORDS, add_record, read_records, take_out


@pytest.fixture
def promoted(tmp_path):
    """A folder in which `idea` was promoted: a new file and a line in one that was there."""
    (tmp_path / "board.md").write_text("first\nlast\n")
    changes = Changes(tmp_path)
    changes.put("notebooks/idea.ipynb", "{}")
    changes.insert("board.md", "idea\n", len("first\n"))
    add_record(changes, "idea", "step", "notebooks/scratch/idea.ipynb")
    changes.write()
    return tmp_path


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_taking_out_leaves_what_was_before(promoted):
    """The record goes with its last entry."""
    assert set(json.loads((promoted / RECORDS).read_text())) == {"idea"}
    changes = Changes(promoted)
    assert take_out(changes, "idea", force=False) == "step"
    changes.write()
    assert files(promoted) == {"board.md": "first\nlast\n"}


def test_other_lines_may_have_changed(promoted):
    """Only what was written counts."""
    (promoted / "board.md").write_text("new\nfirst\nidea\nlast, changed\n")
    changes = Changes(promoted)
    take_out(changes, "idea", force=False)
    assert changes.text("board.md") == "new\nfirst\nlast, changed\n"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("notebooks/idea.ipynb", "{ }"),
        ("board.md", "first\nidea!\nlast\n"),
        ("board.md", "idea\nidea\n"),
    ],
)
def test_what_was_changed_by_hand_is_named_and_kept(promoted, path, text):
    """With FORCE the file goes, a changed line stays."""
    (promoted / path).write_text(text)
    with pytest.raises(
        InputError, match=rf"changed by hand since idea was promoted: {path};.*FORCE=1"
    ):
        take_out(Changes(promoted), "idea", force=False)
    changes = Changes(promoted)
    take_out(changes, "idea", force=True)
    assert changes.text("notebooks/idea.ipynb") is None
    assert changes.text("board.md") == (text if path == "board.md" else "first\nlast\n")


def test_a_second_promotion_of_a_name_is_refused(promoted):
    """The first one's record says what belongs to it."""
    with pytest.raises(
        ConfigError, match=r"promoted already, as a step from notebooks/scratch/idea\.ipynb;.*AS="
    ):
        add_record(Changes(promoted), "idea", "feature", "notebooks/scratch/other.ipynb")


def test_a_name_that_was_not_promoted_is_refused_with_those_that_were(promoted):
    """Before anything is touched."""
    with pytest.raises(InputError, match="'other' was not promoted; promoted are: idea"):
        take_out(Changes(promoted), "other", force=False)


def test_a_damaged_record_is_an_error(promoted):
    """Not an empty one."""
    (promoted / RECORDS).write_text("{")
    with pytest.raises(InputError, match=r"promoted\.json: is no JSON"):
        read_records(Changes(promoted))
