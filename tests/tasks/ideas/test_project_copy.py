"""The copy in which an idea is tried: what belongs to the project, and stores of its own."""

import subprocess

import pytest

from tasks.ideas.project_copy import environment, linked, project_copy
from tasks.ideas.promotion import _touched
from tests.conftest import copy_project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with a change that is not committed, a new file, an ignored one, and products."""
    folder = copy_project(tmp_path_factory.mktemp("project"))
    (folder / ".gitignore").write_text("products/\n*.log\n")
    for words in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)
    (folder / "env.yaml").write_text((folder / "env.yaml").read_text() + "# changed\n")
    (folder / "tasks/new.py").write_text("1\n")
    (folder / "ignored.log").write_text("1\n")
    for name in ("log/manifest.json", "tiny/log/manifest.json"):
        (folder / "products" / name).parent.mkdir(parents=True)
        (folder / "products" / name).write_text(name)
    return folder


@pytest.mark.parametrize("git", [True, False])
def test_a_copy_is_the_project_as_it_is_now(project, git):
    """Without git, too; afterwards it is gone."""
    if not git:
        (project / ".git").rename(project / ".git-away")
    try:
        with project_copy(project, with_tiny=True) as copy:
            assert (copy / "env.yaml").read_text().endswith("# changed\n")
            assert (copy / "tasks/new.py").is_file()
            assert (copy / "ignored.log").exists() is not git
            for place in (copy / "products/log").iterdir():
                place.write_text("another")
            tiny = copy / "products/tiny/log/manifest.json"
            tiny.write_text("another")
        assert not copy.exists()
    finally:
        if not git:
            (project / ".git-away").rename(project / ".git")
    assert (project / "products/tiny/log/manifest.json").read_text() == "tiny/log/manifest.json"
    assert (project / "products/log/manifest.json").read_text() == "log/manifest.json"
    with project_copy(project, with_tiny=False) as copy:
        assert not (copy / "products/tiny").exists()


def test_large_files_are_links_and_a_change_behind_one_is_seen(project, monkeypatch):
    """Data is not copied to where temporary files lie; what cannot be protected is compared."""
    monkeypatch.setattr("tasks.ideas.project_copy._MAX_COPIED", 1_000_000)
    for large in (project / "train.csv", project / "products/log/large.parquet"):
        large.write_bytes(b"1" * 1_000_001)
    with project_copy(project, with_tiny=False) as copy:
        before = linked(copy)
        assert {*before} == {
            str((project / name).resolve()) for name in ("train.csv", "products/log/large.parquet")
        }
        assert _touched(before) == ""
        (copy / "products/log/large.parquet").write_text("damaged")
        assert _touched(before).endswith("products/log/large.parquet")
        (project / "products/log/large.parquet").unlink()
        assert _touched(before).endswith("products/log/large.parquet")


def test_many_files_are_not_copied_beyond_a_sum(project, monkeypatch):
    """The smallest are."""
    monkeypatch.setattr("tasks.ideas.project_copy._MAX_COPIED_TOGETHER", 25)
    (project / "products/log/part.parquet").write_text("a" * 20)
    with project_copy(project, with_tiny=False) as copy:
        assert (copy / "products/log/part.parquet").is_symlink()
        assert not (copy / "products/log/manifest.json").is_symlink()


def test_nothing_leads_from_the_copy_to_stores_of_others(tmp_path, monkeypatch):
    """A team's addresses in the environment are not passed on."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("BENTOML_HOME", "/somewhere")
    found = environment(tmp_path)
    assert "MLFLOW_TRACKING_URI" not in found
    assert found["BENTOML_HOME"] == str(tmp_path / ".bentos")
    assert found["PYTHONPATH"] == str(tmp_path)
    assert found["TMPDIR"] == str(tmp_path.parent)
