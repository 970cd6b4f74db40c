"""The hooks around notebook tasks."""

import json

import pytest

from tasks.errors import ClicklabError
from tasks.pipeline.notebook_hooks import check_executed


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
