"""Relative paths mean the same in the pipeline and in a kernel started elsewhere."""

from tasks.storage.workspace import (
    is_scratch,
    project_root,
    resolve,
    resolve_store,
    scratch_path,
)


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


def test_only_products_below_scratch_are_scratch(tmp_path, monkeypatch):
    """Wherever the products lie; a folder above the project, or a file, may have that name too."""
    project = tmp_path / "scratch" / "project"
    (project / "products").mkdir(parents=True)
    (project / "pipeline.yaml").touch()
    monkeypatch.chdir(project)
    for path in (
        "products/scratch/train/a.json",
        "products/tiny/scratch/train/models/fm/model.json",
    ):
        assert is_scratch(path)
        assert is_scratch(project / path)
    for path in ("products/a.json", "products/scratch", "products/scratch/../a.json"):
        assert not is_scratch(path)
        assert not is_scratch(project / path)
    elsewhere = tmp_path / "scratch" / "products"
    (elsewhere / "log").mkdir(parents=True)
    assert is_scratch(elsewhere / "scratch" / "train" / "a.json")
    assert not is_scratch(elsewhere / "a.json")


def test_a_product_in_another_folder_keeps_its_name_in_scratch():
    """Nothing is written outside the products by hand."""
    assert scratch_path("/data/x/a.csv", "products", "mine") == "products/scratch/mine/a.csv"
