"""Relative paths mean the same in the pipeline and in a kernel started elsewhere."""

from tasks.storage.workspace import project_root, resolve, resolve_store


def test_the_root_is_found_from_a_folder_inside(tmp_path, monkeypatch):
    """A notebook's kernel starts in notebooks/, and still finds the project."""
    (tmp_path / "pipeline.yaml").touch()
    inside = tmp_path / "notebooks"
    inside.mkdir()
    monkeypatch.chdir(inside)
    assert project_root() == tmp_path
    assert resolve("products/log") == tmp_path / "products" / "log"
    assert resolve_store("sqlite:///mlflow/x.db") == f"sqlite:///{tmp_path}/mlflow/x.db"


def test_outside_a_project_paths_are_relative_to_here(tmp_path, monkeypatch):
    """The library works without a pipeline around it."""
    monkeypatch.chdir(tmp_path)
    assert project_root() == tmp_path


def test_absolute_addresses_are_left_alone(tmp_path):
    """Only what is relative is moved."""
    assert resolve(tmp_path) == tmp_path
    assert resolve_store(f"sqlite:///{tmp_path}/a.db") == f"sqlite:///{tmp_path}/a.db"
    assert resolve_store("http://127.0.0.1:5000") == "http://127.0.0.1:5000"
