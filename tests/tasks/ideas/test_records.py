"""What was promoted is remembered, and only that is taken out."""

import json

import pytest

from tasks.errors import ConfigError, InputError
from tasks.ideas.code_files import _add_to_room
from tasks.ideas.edits import Changes, insert_key, insert_name
from tasks.ideas.records import RECORDS, add_record, read_records, take_out
from tests.tasks.ideas.notebooks import write_notebook

SCHEMA = "features: [hour, night2]\ncrosses: [[hour, C17]]\n"
ROOMS = "| `features/` | text | `a` |\n| `models/` | text | `a`, `night` |\n"


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
    assert take_out(changes, "idea", force=False) == ("step", [])
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
    _, left = take_out(changes, "idea", force=True)
    assert left == (["board.md: idea"] if path == "board.md" else [])
    assert changes.text("notebooks/idea.ipynb") is None
    assert changes.text("board.md") == (text if path == "board.md" else "first\nlast\n")


@pytest.fixture
def with_feature(tmp_path):
    """A folder in which the feature `night` was promoted, in a schema that has a feature `night2`."""
    (tmp_path / "s.yaml").write_text(SCHEMA)
    (tmp_path / "ARCHITECTURE.md").write_text(ROOMS)
    (tmp_path / "tasks").mkdir()
    changes = Changes(tmp_path)
    changes.put("tasks/features/night.py", "x = 1\n")
    insert_name(changes, "s.yaml", "features", "night")
    _add_to_room(changes, "features", "night")
    add_record(changes, "night", "feature", "notebooks/scratch/idea.ipynb")
    changes.write()
    return tmp_path


def test_a_name_is_taken_out_of_its_list_though_others_look_like_it(with_feature):
    """In the schema, where one was added since, and in the table of modules."""
    text = (with_feature / "s.yaml").read_text()
    (with_feature / "s.yaml").write_text(text.replace("night]", "night, night3]"))
    changes = Changes(with_feature)
    assert take_out(changes, "night", force=False) == ("feature", [])
    assert changes.text("s.yaml") == SCHEMA.replace("night2]", "night2, night3]")
    assert changes.text("ARCHITECTURE.md") == ROOMS


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("key", "line"), [("crosses", "[C17, night]"), ("slices", "{name: x, field: night}")]
)
def test_a_feature_that_the_schema_uses_stays(with_feature, force, key, line):
    """No run could begin without it."""
    text = (with_feature / "s.yaml").read_text().replace("crosses: [[hour, C17]]\n", "")
    (with_feature / "s.yaml").write_text(f"{text}{key}:\n  - {line}\n")
    with pytest.raises(InputError, match=rf"s\.yaml: {key} name night,.*take it out of them first"):
        take_out(Changes(with_feature), "night", force=force)


@pytest.mark.parametrize(
    "line", ["from tasks.features.night import x", "from tasks.features import night"]
)
def test_a_feature_that_another_module_imports_stays(with_feature, line):
    """One whose name begins like it does not count."""
    other = with_feature / "tasks/other.py"
    other.write_text("# night\nfrom tasks.features.night2 import x\n")
    assert take_out(Changes(with_feature), "night", force=False)[0] == "feature"
    other.write_text(f"{line}\n")
    with pytest.raises(InputError, match=r"tasks/other\.py imports tasks\.features\.night,"):
        take_out(Changes(with_feature), "night", force=True)
    other.unlink()
    write_notebook(with_feature / "notebooks/step.ipynb", "a = 1", line)
    with pytest.raises(InputError, match=r"notebooks/step\.ipynb imports tasks\.features\.night,"):
        take_out(Changes(with_feature), "night", force=True)


def test_a_class_that_another_model_uses_stays(tmp_path):
    """Its block in env.yaml names it; that of the promoted model is taken out."""
    block = "\n  {}:\n    kind: tasks.models.rate:Rate\n    params: {{}}"
    (tmp_path / "env.yaml").write_text("models:\n  ftrl:\n    kind: ftrl\n")
    changes = Changes(tmp_path)
    changes.put("tasks/models/rate.py", "x = 1\n")
    lines = block.format("rate").replace("\n  ", "\n").strip()
    given = {"kind": "tasks.models.rate:Rate", "params": {}}
    insert_key(changes, "env.yaml", "models", "rate", lines, given)
    add_record(changes, "rate", "model", "notebooks/scratch/idea.ipynb")
    changes.write()
    assert take_out(Changes(tmp_path), "rate", force=False) == ("model", [])
    with (tmp_path / "env.yaml").open("a") as file:
        file.write(block.format("other"))
    with pytest.raises(InputError, match=r"env\.yaml: models\.other is of tasks\.models\.rate,"):
        take_out(Changes(tmp_path), "rate", force=True)


@pytest.fixture
def in_place(tmp_path):
    """A folder in which a notebook was promoted where it lay, and its text from before."""
    path = write_notebook(tmp_path / "notebooks/idea.ipynb", "a = 1")
    before = path.read_text()
    changes = Changes(tmp_path)
    changes.put("notebooks/idea.ipynb", before.replace("a = 1", "a = 2"))
    add_record(changes, "idea", "step", "notebooks/idea.ipynb")
    changes.write()
    return tmp_path, before


def test_a_notebook_promoted_in_place_is_as_it_was(in_place):
    """Its text is in the record."""
    folder, before = in_place
    changes = Changes(folder)
    assert take_out(changes, "idea", force=False) == ("step", [])
    assert changes.text("notebooks/idea.ipynb") == before


def test_a_notebook_promoted_in_place_that_was_changed_since_is_kept(in_place):
    """With FORCE a line says so."""
    folder, _ = in_place
    (folder / "notebooks/idea.ipynb").write_text("{}")
    with pytest.raises(InputError, match=r"changed by hand since.*: notebooks/idea\.ipynb;"):
        take_out(Changes(folder), "idea", force=False)
    changes = Changes(folder)
    assert take_out(changes, "idea", force=True)[1] == ["notebooks/idea.ipynb: the whole file"]
    assert changes.text("notebooks/idea.ipynb") == "{}"


def test_a_record_holds_no_outputs(tmp_path):
    """It is committed."""
    path = write_notebook(tmp_path / "notebooks/idea.ipynb", "a = 1")
    content = json.loads(path.read_text())
    content["cells"][1] |= {"outputs": [{"output_type": "stream", "text": "seen"}]}
    path.write_text(json.dumps(content))
    changes = Changes(tmp_path)
    changes.put("notebooks/idea.ipynb", "{}")
    add_record(changes, "idea", "step", "notebooks/idea.ipynb")
    take_out(changes, "idea", force=False)
    content["cells"][1]["outputs"] = []
    assert json.loads(changes.text("notebooks/idea.ipynb")) == content


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
