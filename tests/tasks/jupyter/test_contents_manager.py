"""How JupyterLab opens and saves the notebooks of the pipeline; a real one is started in test_jupyterlab.py."""

import json
import logging
import warnings

import pytest
from tornado.web import HTTPError

from tasks.jupyter.interactive import injected_cell, tagged_cell
from tasks.storage.workspace import is_scratch
from tests.conftest import ROOT, copy_project

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ploomber's own imports use what Python deprecated
    from tasks.jupyter.contents_manager import ContentsManager, write_parameters

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]
PIPELINE = ["explore", "hash_features", "train", "evaluate"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project, not built."""
    return copy_project(tmp_path_factory.mktemp("contents"))


@pytest.fixture
def manager(project, monkeypatch):
    """The contents manager of a JupyterLab that was started in the project."""
    monkeypatch.chdir(project)
    return ContentsManager(root_dir=str(project), log=logging.getLogger("quiet"))


def shown(model):
    """Return what the cells with parameters assign, one after the other."""
    names = {}
    for tag in ("parameters", "injected-parameters"):
        exec("".join(tagged_cell(model["content"], tag)["source"]), names)
    return names


@pytest.mark.parametrize("name", PIPELINE)
def test_a_notebook_reads_the_pipelines_products_and_writes_to_scratch(manager, project, name):
    """Relative paths, short, and a line that says where values are changed."""
    model = manager.get(f"notebooks/{name}.ipynb")
    source = injected_cell(model["content"])["source"]
    assert str(project) not in source
    assert "env.yaml" in source
    assert len(source.splitlines()) < 10
    names = shown(model)
    assert names["upstream"]
    assert "scratch" not in json.dumps(names["upstream"])
    products = (names["product"] or {}).values()
    assert all(
        path.startswith(f"products/scratch/{name}/") and is_scratch(path) for path in products
    )


def test_a_changed_knob_is_shown_and_nothing_else(manager, project):
    """JupyterLab shows the value of env.yaml, where the cell above has an older one."""
    env = project / "env.yaml"
    before = env.read_text()
    env.write_text(before.replace("bits: 20", "bits: 18"))
    try:
        source = injected_cell(manager.get("notebooks/hash_features.ipynb")["content"])["source"]
    finally:
        env.write_text(before)
    assert [line for line in source.splitlines() if line[0] != "#"] == ["bits = 18"]


def test_saving_writes_no_injected_cell_and_forgets_no_product(manager, project):
    """The file is as it was, and what Ploomber knows of the task's products stays."""
    path = project / "notebooks" / "train.ipynb"
    before = json.loads(path.read_text())
    metadata = project / "products" / ".train-fm.json.metadata"
    metadata.parent.mkdir(exist_ok=True)
    metadata.write_text("{}")
    model = manager.get("notebooks/train.ipynb")
    manager.save(model, "/notebooks/train.ipynb")
    assert json.loads(path.read_text()) == before
    assert metadata.exists()


def test_an_executed_notebook_is_read_only_and_writes_to_scratch(manager, project):
    """It holds the paths that the pipeline wrote to; a copy of it elsewhere may be saved."""
    content = manager.get("notebooks/train.ipynb")["content"]
    given = {"product": {"model": f"{project}/products/tiny/models/fm/model.json"}, "seed": 8}
    content["metadata"]["papermill"]["parameters"] = given
    injected_cell(content)["source"] = f"product = {given['product']}"
    path = project / "products" / "tiny" / "train-fm.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    model = manager.get("products/tiny/train-fm.ipynb")
    assert model["writable"] is False
    names = shown(model)
    assert names["product"] == {"model": "products/tiny/scratch/train-fm/models/fm/model.json"}
    assert names["seed"] == 8
    with pytest.raises(HTTPError, match="was written by the pipeline"):
        manager.save(model, "products/tiny/train-fm.ipynb")
    manager.save(model, "notebooks/mine.ipynb")
    saved = (project / "notebooks" / "mine.ipynb").read_text()
    assert "injected-parameters" not in saved
    assert str(project) not in saved
    (project / "notebooks" / "mine.ipynb").unlink()


def test_a_new_notebook_opens_the_data(manager, project):
    """It begins as the template, with cell ids of its own; in a folder without a project it is empty."""
    path = manager.new_untitled("notebooks", type="notebook")["path"]
    cells = json.loads((project / path).read_text())["cells"]
    template = json.loads((project / "notebooks/template.ipynb").read_text())["cells"]
    assert [cell["source"] for cell in cells] == [cell["source"] for cell in template]
    assert not {cell["id"] for cell in cells} & {cell["id"] for cell in template}
    (project / path).unlink()


def test_the_notebooks_literals_are_what_the_pipeline_injects():
    """So that VS Code and papermill run them as JupyterLab does; `make format` brings them in step."""
    manager = ContentsManager(root_dir=str(ROOT), log=logging.getLogger("quiet"))
    for name in PIPELINE:
        source = injected_cell(manager.get(f"notebooks/{name}.ipynb")["content"])["source"]
        extra = [line for line in source.splitlines() if not line.startswith("#")]
        assert extra == [], f"run `make format`: {name}.ipynb, or env.yaml, has changed"


def test_formatting_brings_the_literals_in_step(project, monkeypatch):
    """Only the notebook that a knob concerns, and once."""
    monkeypatch.chdir(project)
    env, path = project / "env.yaml", project / "notebooks" / "hash_features.ipynb"
    before, notebook = env.read_text(), path.read_text()
    env.write_text(before.replace("bits: 20", "bits: 18"))
    try:
        assert write_parameters(project) == ["notebooks/hash_features.ipynb"]
        assert write_parameters(project) == []
        assert path.read_text() == notebook.replace("bits = 20", "bits = 18")
    finally:
        env.write_text(before)
        path.write_text(notebook)


def test_a_notebook_that_is_added_later_gets_this_for_free(project, monkeypatch):
    """A task of one's own in pipeline.yaml, and a notebook with nothing but a parameters cell."""
    monkeypatch.chdir(project)
    spec, path = project / "pipeline.yaml", project / "notebooks" / "mine.ipynb"
    before = spec.read_text()
    notebook = json.loads((project / "notebooks" / "template.ipynb").read_text())
    notebook["cells"][1]["source"] = ["upstream = None\n", "product = None\n", "size = 1"]
    path.write_text(json.dumps(notebook))
    spec.write_text(f"""{before}
  - <<: *notebook
    name: mine
    source: notebooks/mine.ipynb
    product: {{nb: "{{{{products}}}}/mine.ipynb", html: "{{{{products}}}}/mine.html", table: "{{{{products}}}}/mine/table.csv"}}
    params: {{size: 3}}
""")
    try:
        manager = ContentsManager(root_dir=str(project), log=logging.getLogger("quiet"))
        names = shown(manager.get("notebooks/mine.ipynb"))
    finally:
        spec.write_text(before)
        path.unlink()
    assert names["product"] == {"table": "products/scratch/mine/mine/table.csv"}
    assert names["upstream"]["ingest"] == {"log": "products/log/manifest.json"}
    assert names["size"] == 3
