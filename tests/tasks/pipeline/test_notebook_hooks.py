"""The hooks around notebook tasks."""

import json

import pytest

from tasks.errors import ClicklabError
from tasks.pipeline.notebook_hooks import check_and_attach, check_executed


def notebook(*counts):
    """Return the JSON of a notebook whose code cells have these execution counts."""
    cells = [
        {"cell_type": "code", "source": ["1 + 1"], "execution_count": count} for count in counts
    ]
    return json.dumps({"cells": [{"cell_type": "markdown", "source": ["# ?"]}, *cells]})


def test_a_notebook_that_ran_to_the_end_passes(tmp_path):
    """Every code cell has its count."""
    path = tmp_path / "train.ipynb"
    path.write_text(notebook(1, 2, 3))
    check_executed({"nb": path})


def test_a_cell_that_never_ran_is_named(tmp_path):
    """A killed kernel leaves cells without a count, whatever papermill says of them."""
    path = tmp_path / "train.ipynb"
    path.write_text(notebook(1, None, None))
    with pytest.raises(ClicklabError, match=r"train\.ipynb: code cell 2 of 3 was never executed"):
        check_executed({"nb": path})


def test_a_notebook_that_ended_itself_passes(tmp_path):
    """With ``sys.exit(0)``, as a training without a model does; the cells below never ran."""
    page = json.loads(notebook(1, 2, None))
    page["cells"][2]["outputs"] = [{"output_type": "error", "ename": "SystemExit", "evalue": "0"}]
    path = tmp_path / "train.ipynb"
    path.write_text(json.dumps(page))
    check_executed({"nb": path})
    page["cells"][2]["outputs"][0]["evalue"] = "1"
    path.write_text(json.dumps(page))
    with pytest.raises(ClicklabError, match="code cell 3 of 3"):
        check_executed({"nb": path})


def test_a_training_without_a_model_has_no_run_to_attach_to(tmp_path):
    """MLflow is not asked."""
    (tmp_path / "train.ipynb").write_text(notebook(1))
    (tmp_path / "train.json").write_text(json.dumps({"refused": "it diverged", "run_id": None}))
    product = {"nb": tmp_path / "train.ipynb", "result": tmp_path / "train.json"}
    check_and_attach(None, product, {"tracking": {"tracking_uri": "nowhere"}})
