"""The copy in which an idea is tried: what belongs to the project, and stores of its own."""

import subprocess

import pytest

from tasks.ideas.project_copy import environment, project_copy
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
            assert (copy / "products/log").is_symlink()
            tiny = copy / "products/tiny/log/manifest.json"
            tiny.write_text("another")
        assert not copy.exists()
    finally:
        if not git:
            (project / ".git-away").rename(project / ".git")
    assert (project / "products/tiny/log/manifest.json").read_text() == "tiny/log/manifest.json"
    with project_copy(project, with_tiny=False) as copy:
        assert not (copy / "products/tiny").exists()


def test_nothing_leads_from_the_copy_to_stores_of_others(tmp_path, monkeypatch):
    """A team's addresses in the environment are not passed on."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("BENTOML_HOME", "/somewhere")
    found = environment(tmp_path)
    assert "MLFLOW_TRACKING_URI" not in found
    assert found["BENTOML_HOME"] == str(tmp_path / ".bentos")
    assert found["PYTHONPATH"] == str(tmp_path)
    assert found["TMPDIR"] == str(tmp_path.parent)
