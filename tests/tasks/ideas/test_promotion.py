"""A trial is waited for, but not for ever; a notebook becomes a step where it lies, and is itself again."""

import json
import shutil
import sys
import time

import pytest

from tasks.ideas import promotion
from tasks.ideas.edits import Changes
from tasks.ideas.kernel_run import Limits
from tasks.ideas.notebook import read_notebook
from tests.conftest import ROOT, copy_project
from tests.tasks.ideas.notebooks import NIGHT, write_notebook


@pytest.mark.parametrize(("code", "ends"), [("pass", True), ("import time; time.sleep(60)", False)])
def test_a_trial_without_end_is_ended(tmp_path, code, ends):
    """With all that it started."""
    begun = time.monotonic()
    command = [sys.executable, "-S", "-c", code]
    assert promotion._ends(command, tmp_path, tmp_path / "log", seconds=60 if ends else 0.3) == ends
    assert time.monotonic() - begun < 30


def test_what_does_not_end_is_one_line(tmp_path, monkeypatch):
    """It names the knob; small limits of a notebook leave the pipeline its time."""
    monkeypatch.chdir(ROOT)
    notebook = read_notebook(write_notebook(tmp_path / "night.ipynb", *NIGHT))
    given = []
    monkeypatch.setattr(promotion, "_ends", lambda *words, seconds: given.append(seconds))
    found = [
        promotion._try(Changes(ROOT), "feature", "night", notebook, Limits(minutes))
        for minutes in (0.1, 10)
    ]
    assert given == [1800, 3600]
    assert found[1] == ["its trial has not ended after 60 minutes, 6 times MINUTES="]


def test_a_notebook_promoted_in_place_by_an_absolute_path_goes_back(tmp_path, monkeypatch):
    """The record names it as in the project, and demote leaves every file as it was."""
    project = copy_project(tmp_path)
    shutil.copy2(ROOT / "README.md", project)
    path = write_notebook(project / "notebooks/night.ipynb", *NIGHT)
    monkeypatch.chdir(project)
    monkeypatch.setattr(promotion, "_try", lambda *given: [])
    edited = ("notebooks/night.ipynb", "notebooks/README.md", "README.md", "pipeline.yaml")
    before = [(project / name).read_text() for name in edited]
    promotion.promote(path.resolve())
    record = json.loads((project / "notebooks/promoted.json").read_text())["night"]
    assert record["from"] == "notebooks/night.ipynb"
    assert [(project / name).read_text() for name in edited] != before
    assert promotion.demote("night").left == ()
    assert [(project / name).read_text() for name in edited] == before
    assert not (project / "notebooks/promoted.json").exists()


@pytest.mark.parametrize("name", ["new_feature", "new_model"])
def test_a_feature_or_model_is_taken_out_of_the_projects_own_files(tmp_path, monkeypatch, name):
    """Nothing in them uses it; every file is as it was."""
    project = copy_project(tmp_path)
    for path in ("README.md", "ARCHITECTURE.md"):
        shutil.copy2(ROOT / path, project)
    shutil.copy2(project / f"notebooks/{name}.ipynb", project / "notebooks/scratch_idea.ipynb")
    monkeypatch.chdir(project)
    monkeypatch.setattr(promotion, "_try", lambda *given: [])
    checks = project / "tests/tasks/models/checks.py"
    checks.parent.mkdir(parents=True)
    shutil.copy2(ROOT / "tests/tasks/models/checks.py", checks)

    def files():
        found = project.rglob("*")
        return {one: one.read_bytes() for one in found if one.is_file() and one.suffix != ".pyc"}

    before = files()
    done = promotion.promote("notebooks/scratch_idea.ipynb")
    assert len(files()) == len(before) + 3
    assert promotion.demote(done.name).left == ()
    assert files() == before
