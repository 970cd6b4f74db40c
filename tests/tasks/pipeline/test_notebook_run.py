"""One notebook, run to a page: what a cell raises is one line."""

from pathlib import Path

import nbformat
import pytest
from papermill.exceptions import PapermillExecutionError

from tasks.errors import ConfigError
from tasks.pipeline.notebook_run import as_known, run_notebook


def notebook(folder, source):
    """Write a notebook with the parameter `a` and one more cell."""
    cells = [nbformat.v4.new_code_cell("a = 1", metadata={"tags": ["parameters"]})]
    cells.append(nbformat.v4.new_code_cell(source))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "a.ipynb")
    return folder / "a.ipynb"


@pytest.mark.slow
def test_a_known_error_of_a_cell_keeps_its_class(tmp_path):
    """And so its exit code; what ran is kept to look at."""
    source = "from tasks.errors import ConfigError\nraise ConfigError(f'knob a is {a}')"
    with pytest.raises(ConfigError, match=r"^knob a is 0$"):
        run_notebook(notebook(tmp_path, source), {"a": 0}, tmp_path / "b" / "out.ipynb")
    assert (tmp_path / "b" / "out.ipynb").exists()


def test_any_other_error_names_its_cell():
    """In one line."""
    error = PapermillExecutionError(2, 3, "1 / 0", "ZeroDivisionError", "division\nby zero", [])
    assert str(as_known(error, Path("out.ipynb"))) == (
        "out.ipynb: code cell 3 failed (ZeroDivisionError: division by zero); the notebook shows where"
    )
