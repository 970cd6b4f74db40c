"""Notebooks in a real clone: what an afternoon of work leaves in a commit."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.jupyter.notebook_git import SETTINGS, configure_git
from tests.conftest import ROOT, copy_project

pytestmark = [
    pytest.mark.slow,  # each command of git starts Python for each notebook
    pytest.mark.skipif(not shutil.which("git"), reason="git is not installed"),
]
NOTEBOOK = "notebooks/train.ipynb"


def git(folder: Path, *words: str, check: bool = True) -> str:
    """Run git as somebody, with no configuration but the clone's."""
    env = os.environ | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_PAGER": "cat",
    }
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", *identity, *words]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def clone(tmp_path):
    """A clone after `make setup`: the project's files in one commit, this environment, and the settings."""
    folder = copy_project(tmp_path / "clone")
    for name in (".gitattributes", ".gitignore", ".pre-commit-config.yaml"):
        shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    with (folder / ".gitignore").open("a") as file:
        file.write(".venv\n")
    git(folder, "init", "--quiet", "-b", "main")
    assert configure_git(folder)
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "start")
    return folder


def change(folder: Path, source: str | None = None, number: int = -1) -> None:
    """Work on a notebook as JupyterLab saves it: outputs, counts, metadata of the kernel; perhaps a changed cell."""
    path = folder / NOTEBOOK
    notebook = json.loads(path.read_text())
    for count, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            cell["execution_count"] = count
            text = {"output_type": "stream", "name": "stdout", "text": [f"secret {count}\n"]}
            cell["outputs"] = [text]
            cell["metadata"]["execution"] = {"iopub.status.busy": "2026-11-27T18:00:00Z"}
    notebook["metadata"]["language_info"] |= {"version": "3.12.1", "mimetype": "text/x-python"}
    notebook["metadata"]["papermill"] = {"parameters": {"product": "/home/me/x"}}
    if source:
        notebook["cells"][number]["source"] = [source]
    path.write_text(json.dumps(notebook, indent=1))


def test_an_afternoon_without_a_changed_cell_is_no_change(clone):
    """Outputs stay on disk and git sees nothing to commit; the commit holds what the project's own does."""
    change(clone)
    git(clone, "add", "-A")
    assert git(clone, "status", "--short") == ""
    assert "secret" in (clone / NOTEBOOK).read_text()
    assert git(clone, "show", f"HEAD:{NOTEBOOK}") == (ROOT / NOTEBOOK).read_text()


def test_a_changed_cell_is_all_that_a_commit_shows(clone):
    """In the diff by cell, and in the commit itself: one line out, one in; every cell keeps its id."""
    change(clone, "print(41 + 1)")
    shown = git(clone, "diff")
    assert "print(41 + 1)" in shown
    assert "secret" not in shown
    assert "3.12.1" not in shown
    git(clone, "commit", "--quiet", "-am", "work")
    plain = git(clone, "show", "--no-ext-diff", "--format=")
    added = [line for line in plain.splitlines() if line.startswith("+") and line[:3] != "+++"]
    assert added == ['+    "print(41 + 1)"']
    before, after = (
        json.loads(git(clone, "show", f"{at}:{NOTEBOOK}"))["cells"] for at in ("HEAD~1", "HEAD")
    )
    assert [cell["id"] for cell in before] == [cell["id"] for cell in after]


def test_two_people_may_change_two_cells(clone):
    """The merge is by cell, so outputs and neighbors do not conflict."""
    git(clone, "checkout", "--quiet", "-b", "theirs")
    change(clone, "theirs = 1", number=2)
    git(clone, "commit", "--quiet", "-am", "theirs")
    git(clone, "checkout", "--quiet", "main")
    change(clone, "mine = 1", number=-1)
    git(clone, "commit", "--quiet", "-am", "mine")
    git(clone, "merge", "--quiet", "-m", "both", "theirs")
    cells = json.loads((clone / NOTEBOOK).read_text())["cells"]
    assert ["".join(cells[number]["source"]) for number in (2, -1)] == ["theirs = 1", "mine = 1"]


def test_two_people_who_change_one_cell_get_a_notebook_that_opens(clone):
    """Git says that there is a conflict; the file is a notebook, with both versions in the cell."""
    git(clone, "checkout", "--quiet", "-b", "theirs")
    change(clone, "theirs = 1")
    git(clone, "commit", "--quiet", "-am", "theirs")
    git(clone, "checkout", "--quiet", "main")
    change(clone, "mine = 1")
    git(clone, "commit", "--quiet", "-am", "mine")
    assert "CONFLICT" in git(clone, "merge", "theirs", check=False)
    text = "\n".join(
        "".join(cell["source"]) for cell in json.loads((clone / NOTEBOOK).read_text())["cells"]
    )
    assert "mine = 1" in text
    assert "theirs = 1" in text
    assert "<<<<<<<" in text


def test_a_clone_without_its_environment_works_as_git_does(clone):
    """Nothing fails; outputs are then committed, as without a filter."""
    (clone / ".venv").unlink()
    change(clone, "print(41 + 1)")
    assert "print(41 + 1)" in git(clone, "diff")
    git(clone, "commit", "--quiet", "-am", "work")
    assert "print(41 + 1)" in git(clone, "show", f"HEAD:{NOTEBOOK}")


def test_the_clones_own_settings_are_all_that_changes(clone):
    """Each name that .gitattributes gives is configured."""
    listed = git(clone, "config", "--local", "--list")
    assert all(f"{name}=" in listed.lower() for name in map(str.lower, SETTINGS))
    attributes = (ROOT / ".gitattributes").read_text().split()[1:]
    assert {f"{kind}.{name}" for kind, name in (one.split("=") for one in attributes)} == {
        ".".join(name.split(".")[:2]) for name in SETTINGS
    }


def test_without_git_or_a_repository_nothing_is_configured(tmp_path, monkeypatch):
    """Neither in a folder of another repository."""
    assert not configure_git(tmp_path)
    git(tmp_path, "init", "--quiet")
    (tmp_path / "inside").mkdir()
    assert not configure_git(tmp_path / "inside")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not configure_git(tmp_path)


def test_pre_commit_changes_nothing_in_a_clean_checkout(clone):
    """The hook strips with the same options, cell ids stay."""
    command = [str(Path(sys.prefix) / "bin" / "pre-commit"), "run", "--all-files", "nbstripout"]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert git(clone, "status", "--short") == ""
