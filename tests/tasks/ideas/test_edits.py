"""Changes of files: exactly the lines that were meant, all or none."""

import pytest
import yaml

from tasks.errors import ConfigError
from tasks.ideas import edits
from tasks.ideas.edits import Changes, insert_item, insert_key, insert_name
from tests.conftest import ROOT
from tests.tasks.ideas.notebooks import write_notebook

PIPELINE = "# The DAG\ntasks:\n  - name: a   # first\n    params: {x: 1,\n             y: 2}\n\n  # about b\n  - name: b\n    params: {x: 1}\n"


@pytest.fixture
def changes(tmp_path):
    """Return a function that writes a file and gives the changes of its folder."""

    def of(path, text):
        (tmp_path / path).write_text(text)
        return Changes(tmp_path)

    return of


@pytest.mark.parametrize(
    ("after", "behind"),
    [(0, "             y: 2}\n"), (1, "    params: {x: 1}\n")],
)
def test_an_item_is_added_and_nothing_else_moves(changes, after, behind):
    """Comments, blank lines and broken lines stay as they are."""
    found = changes("p.yaml", PIPELINE)
    insert_item(found, "p.yaml", "tasks", "  - name: new\n", after=after, item={"name": "new"})
    text = found.text("p.yaml")
    assert text.replace("\n  - name: new\n", "") == PIPELINE
    assert text.split("\n  - name: new\n")[0].endswith(behind)
    assert [task["name"] for task in yaml.safe_load(text)["tasks"]].index("new") == after + 1


def test_the_projects_own_files_take_additions_in_every_place():
    """After each task of pipeline.yaml; as the last model of env.yaml, whose comments stay with what they explain."""
    changes = Changes(ROOT)
    pipeline = changes.text("pipeline.yaml")
    for after in range(len(yaml.safe_load(pipeline)["tasks"])):
        one = Changes(ROOT)
        insert_item(
            one, "pipeline.yaml", "tasks", "  - name: new\n", after=after, item={"name": "new"}
        )
        assert one.text("pipeline.yaml").replace(one.inserted[0]["text"], "") == pipeline
    insert_key(
        changes,
        "env.yaml",
        "models",
        "mine",
        "mine:\n  kind: ftrl\n  params: {}",
        {"kind": "ftrl", "params": {}},
    )
    text = changes.text("env.yaml")
    assert list(yaml.safe_load(text)["models"])[-1] == "mine"
    assert "    search: {method: halving}\n  mine:\n    kind: ftrl\n    params: {}\ntraining:" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nfeatures: [x, y]  # two\nb: 2\n", "a: 1\nfeatures: [x, y, new]  # two\nb: 2\n"),
        ("features: []\n", "features: [new]\n"),
        ("features:   # none yet\nb: 2\n", "features: [new]   # none yet\nb: 2\n"),
        (
            "features:\n  - x   # one\n  - y\n\nb: 2\n",
            "features:\n  - x   # one\n  - y\n  - new\n\nb: 2\n",
        ),
        ("a: 1   # first\nb: 2\n", "a: 1   # first\nfeatures: [new]\nb: 2\n"),
    ],
)
def test_a_name_joins_its_list(changes, text, expected):
    """However the list is written; without one it is begun behind the key that it belongs to."""
    found = changes("s.yaml", text)
    insert_name(found, "s.yaml", "features", "new", behind=("a",))
    assert found.text("s.yaml") == expected


@pytest.mark.parametrize(
    "text", ["tasks: [{name: a}]\n", "tasks: {}\n", "other: 1\n", "tasks: 3\n"]
)
def test_a_file_written_otherwise_gets_the_lines_to_add_by_hand(changes, text):
    """It is left alone."""
    found = changes("p.yaml", text)
    with pytest.raises(ConfigError, match=r"(?s)p\.yaml: `tasks` is no list.*- name: new"):
        insert_item(found, "p.yaml", "tasks", "  - name: new\n", after=0, item={"name": "new"})
    assert found.paths == []


def test_a_failed_write_leaves_every_file_as_it_was(tmp_path, monkeypatch):
    """Changed files, new ones, removed ones."""
    for name in "abc":
        (tmp_path / name).write_text(name)
    changes = Changes(tmp_path)
    changes.put("a", "other")
    changes.put("new/file", "new")
    changes.put("b", None)
    changes.put("c", "other")
    write = edits.write_atomic

    def fail(path, text):
        if path.name == "c" and text == "other":
            raise OSError("the disk is full")
        write(path, text)

    monkeypatch.setattr(edits, "write_atomic", fail)
    with pytest.raises(OSError, match="full"):
        changes.write()
    assert {path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == {"a": "a", "b": "b", "c": "c"}  # fmt: skip


def test_a_file_that_changed_meanwhile_is_not_overwritten(tmp_path):
    """Nothing is written then."""
    (tmp_path / "a").write_text("1")
    changes = Changes(tmp_path)
    changes.put("new", "x")
    changes.put("a", "2")
    (tmp_path / "a").write_text("3")
    with pytest.raises(ConfigError, match=r"a was changed meanwhile; nothing was written"):
        changes.write()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("path", ["/elsewhere/shop.yaml", "../shop.yaml", "a/../../shop.yaml"])
def test_a_file_outside_the_project_is_not_changed(tmp_path, path):
    """A copy of the project would not hold it, so a failed trial would have changed it."""
    with pytest.raises(ConfigError, match=r"only files of the project are;.*`schema` of env\.yaml"):
        Changes(tmp_path).put(path, "x")


def test_the_diff_shows_new_changed_and_removed_files(tmp_path):
    """As git does."""
    (tmp_path / "a").write_text("1\n2\n")
    (tmp_path / "b").write_text("gone\n")
    changes = Changes(tmp_path)
    changes.put("a", "1\n3\n")
    changes.put("b", None)
    changes.put("c", "new\n")
    lines = changes.diff().splitlines()
    assert lines[:2] == ["--- a/a", "+++ b/a"]
    assert {"-2", "+3", "+++ /dev/null", "-gone", "--- /dev/null", "+new"} <= {*lines}


def test_the_diff_of_a_notebook_shows_its_cells(tmp_path):
    """Not its JSON."""
    path = write_notebook(tmp_path / "x.ipynb", "a = 1", "a + 1\na")
    changes = Changes(tmp_path)
    changes.put("notebooks/x.ipynb", path.read_text())
    lines = changes.diff().splitlines()
    assert lines[3:5] == ["+# %% [markdown]", "+# Do people click more at night?"]
    assert lines[-7:] == ["+# %% parameters", "+a = 1", "+", "+# %%", "+a + 1", "+a", "+"]
