"""A notebook that becomes a step: its entry, its parameters, its rows."""

import json
import shutil

import pytest
import yaml

from tasks.errors import ConfigError
from tasks.ideas.edits import Changes
from tasks.ideas.notebook import read_notebook
from tasks.ideas.step import plan
from tasks.ideas.step_files import entry, write_step
from tasks.knobs.reading import read_env
from tests.conftest import ROOT, copy_project
from tests.tasks.ideas.notebooks import NIGHT, PARAMETERS, write_notebook

ENV = read_env(ROOT / "env.yaml")


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch):
    """Read the project's own pipeline.yaml; nothing is written."""
    monkeypatch.chdir(ROOT)


@pytest.fixture
def planned(tmp_path):
    """Return a function that plans a step from the text of a parameters cell."""

    def of(parameters, **options):
        notebook = read_notebook(write_notebook(tmp_path / "night.ipynb", parameters, *NIGHT[1:]))
        return plan(notebook, "night", ENV, **options)

    return of


def test_parameters_become_knobs_where_they_are_knobs(planned):
    """The schema and the seed follow env.yaml; what only this notebook has is a number of pipeline.yaml."""
    step, faults = planned(f"{PARAMETERS}\nseed = 7\nshare = 1e-6")
    assert faults == []
    (task,) = yaml.safe_load(entry(step, ENV)[0].replace("<<: *notebook", "shared: 1"))
    code = task["params"].pop("code")
    assert task["params"] == {"max_rows": 50_000, "schema": "{{schema}}", "seed": "{{seed}}", "share": 1e-6}  # fmt: skip
    assert (code["source"], code["besides"]) == ("notebooks/night.ipynb", ["{{schema}}"])
    assert task["upstream"] == ["ingest"]
    assert task["product"] == {
        "nb": "{{products}}/night.ipynb", "html": "{{products}}/night.html", "rates": "{{products}}/night.json",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("upstream = None", "names no input; write upstream ="),
        ('upstream = {"ingst": None}', "upstream names 'ingst', which is no task; there are ingest, validate"),
        ('upstream = {"ingest": {"logs": "x"}}', "ingest has no product 'logs'; it has log"),
        ('upstream = ["ingest"]', "upstream must be a mapping"),
        ('upstream = {"ingest": None}\nproduct = "x.json"', "product must be a mapping"),
        ('upstream = {"ingest": None}\nproduct = {"a": "folder"}', "product 'a' must name a file below products/"),
        ('upstream = {"ingest": None}\nproduct = {"a": "../x.json"}', "product 'a' must name a file below products/"),
        ('upstream = {"ingest": None}\nproduct = {"nb": "x.ipynb"}', "'nb' is written by the pipeline"),
        ('upstream = {"ingest": None}\nproduct = {"a": "products/validation.json"}', "which validate writes"),
    ],
)  # fmt: skip
def test_inputs_and_outputs_that_cannot_be_are_faults_of_the_cell(planned, parameters, words):
    """Each with what would be right."""
    _, faults = planned(parameters)
    assert faults[0].cell == 1
    assert words in faults[0].text


def test_after_names_a_task_before_it(planned):
    """Added to those that the notebook names, once."""
    assert planned("upstream = None", after="validate")[0].upstream == ("validate",)
    assert planned(PARAMETERS, after="ingest")[0].upstream == ("ingest",)
    assert planned('upstream = {"train-*": None}', after="train-fm")[0].upstream == ("train-*",)
    with pytest.raises(ConfigError, match="no task 'nothing'"):
        planned(PARAMETERS, after="nothing")


def test_names_that_are_taken_are_refused(tmp_path):
    """Of tasks, and of notebooks that are in the pipeline."""
    notebook = read_notebook(write_notebook(tmp_path / "night.ipynb", *NIGHT))
    with pytest.raises(ConfigError, match="has a task 'explore' already; name another with AS="):
        plan(notebook, "explore", ENV)
    with pytest.raises(
        ConfigError, match="is in the pipeline already, as train-sgd, train-sgd_optuna"
    ):
        plan(read_notebook("notebooks/train.ipynb"), "train", ENV)
    step, _ = plan(notebook, "template", ENV)
    with pytest.raises(ConfigError, match=r"notebooks/template\.ipynb is there already"):
        write_step(Changes(ROOT), notebook, step, ENV)


def test_a_notebook_is_the_same_however_it_is_named(tmp_path, monkeypatch):
    """By an absolute path too: promoted in place it is replaced, and in the pipeline once."""
    with pytest.raises(ConfigError, match="is in the pipeline already, as train-sgd"):
        plan(read_notebook(ROOT / "notebooks/train.ipynb"), "train", ENV)
    copy = copy_project(tmp_path)
    shutil.copy2(ROOT / "README.md", copy)
    path = write_notebook(copy / "notebooks/night.ipynb", *NIGHT)
    monkeypatch.chdir(copy)
    changes, notebook = Changes(copy), read_notebook(path.resolve())
    assert write_step(changes, notebook, plan(notebook, "night", ENV)[0], ENV) == []
    assert "notebooks/night.ipynb" in changes.paths


def test_what_is_written(tmp_path):
    """The notebook clean and with all its inputs, the task behind those that it needs, a row on each board."""
    path = write_notebook(tmp_path / "night.ipynb", *NIGHT)
    content = json.loads(path.read_text())
    content["cells"][2] |= {"outputs": [{"output_type": "stream"}], "execution_count": 4}
    path.write_text(json.dumps(content))
    notebook, changes = read_notebook(path), Changes(ROOT)
    step, _ = plan(notebook, "night", ENV, after="validate")
    assert write_step(changes, notebook, step, ENV) == []
    written = json.loads(changes.text("notebooks/night.ipynb"))
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in written["cells"])
    assert "**Status**: in the pipeline as `night`." in "".join(written["cells"][0]["source"])
    values: dict = {}
    exec("".join(written["cells"][1]["source"]), values)
    assert values["upstream"]["validate"] == {"report": "products/validation.json", "page": "products/validation.md"}  # fmt: skip
    assert values["product"] == {"rates": "products/scratch/night/night.json"}
    assert values["code"] == ""
    names = [task["name"] for task in yaml.safe_load(changes.text("pipeline.yaml"))["tasks"]]
    assert names.index("night") == names.index("explore") + 1
    for board in ("README.md", "notebooks/README.md"):
        assert "| `night` | Do people click more at night? |" in changes.text(board)


def test_what_the_linter_would_refuse_is_a_fault(tmp_path):
    """Unused imports are removed and imports sorted without a word; the rest has its cell."""
    cells = (*NIGHT, "import os\nl = 1\nl")
    notebook, changes = (
        read_notebook(write_notebook(tmp_path / "night.ipynb", *cells)),
        Changes(ROOT),
    )
    (fault,) = write_step(changes, notebook, plan(notebook, "night", ENV)[0], ENV)
    assert fault.cell == 5
    assert "Ambiguous variable name" in fault.text
    assert "import os" not in changes.text("notebooks/night.ipynb")
