"""What reading finds in a notebook, with cell and line."""

import pytest

from tasks.ideas.faults import faults, step_faults
from tasks.ideas.notebook import read_notebook
from tests.conftest import ROOT
from tests.tasks.ideas.notebooks import NIGHT, PARAMETERS, write_notebook

CELLS = {
    "%pip install lightgbm": "installs a package",
    "!pip install lightgbm": "installs a package",
    "!ls": "runs a shell command",
    "files = !ls": "runs a shell command",
    "files = %sx ls": "runs a shell command",
    "if True:\n    %system ls": "runs a shell command",
    "found = !python -m pip install lightgbm": "installs a package",
    "import requests": "imports requests: inputs come by `upstream`",
    "from urllib.request import urlopen": "imports urllib.request",
    "import subprocess": "starts no other program",
    "x = '/home/ann/train.csv'": "is a path of one machine",
    "x = r'C:\\data\\train.csv'": "is a path of one machine",
    "x = '~/train.csv'": "is a path of one machine",
    "x = f'/mnt/data/{1}.csv'": "is a path of one machine",
    "from pathlib import Path\nPath.home()": "Path.home depends on user or machine",
    "import sys\nsys.path.append('x')": "uses sys.path",
    "x = 'https://example.com/train.csv'": "is an address",
    "x = 's3://bucket/train.csv'": "is an address",
    "x = 'postgresql://me:secret@host/db'": "looks like a secret",
    "api_key = 'abc'": "looks like a secret",
    "token: str = 'x7Kq2Lr9Pz4mVb1T'": "looks like a secret",
    "key = 'AKIAABCDEFGHIJKLMNOP'": "looks like a secret",
    "print(gone)": "which no cell defines",
}
STEP_CELLS = {
    "import pandas as pd\npd.read_parquet('products/log')": "'products/log' is a product",
    "class Model:\n    pass": "defines the class Model; tag the cell `model`",
    "def f(x):\n    return x + 1\ndef f(x):\n    return x + 2": "defines f again (code cell 5 did)",
}


@pytest.mark.parametrize(("cell", "words"), CELLS.items(), ids=CELLS)
def test_a_cell_that_belongs_to_one_machine_or_moment_is_a_fault(tmp_path, cell, words):
    """In the fifth code cell, at the last of its lines."""
    found = list(faults(read_notebook(write_notebook(tmp_path / "x.ipynb", *NIGHT, cell))))
    assert [(fault.cell, fault.line) for fault in found] == [(5, cell.count("\n") + 1)]
    assert words in found[0].text


def test_harmless_texts_are_no_faults(tmp_path):
    """Docstrings may name addresses; `/predict`, sqlite and simulated logs are none; a token of hashing is no secret."""
    cell = (
        "def explain():\n    '''See https://example.com/a and /home/ann/x.'''\n"
        "call, share, uri = '/predict', 'a/b', 'sim://avazu?rows=10'\nn_tokens = 3\nparts = 'clicks / views'\n"
        "token, folder = 'C15=320', 'x'\ntoken = 'C15=320'\nfile = f'{folder}/parts/{parts}' + '/last/x.csv'\n"
        "shown = '''\n!ls\n'''"
    )
    assert list(faults(read_notebook(write_notebook(tmp_path / "x.ipynb", *NIGHT, cell)))) == []


def test_a_second_parameters_cell_is_a_fault(tmp_path):
    """It would be injected into one of them."""
    second = ("b = 2", ["parameters"])
    (fault,) = faults(read_notebook(write_notebook(tmp_path / "x.ipynb", "a = 1", second)))
    assert (
        str(fault)
        == "code cell 2: is a second cell tagged `parameters` (the first is code cell 1); keep one"
    )


def test_a_computed_parameter_is_a_fault(tmp_path):
    """With its line in the cell."""
    (fault,) = faults(read_notebook(write_notebook(tmp_path / "x.ipynb", "a = 1\nb = a * 2")))
    assert (fault.cell, fault.line) == (1, 2)
    assert "`b = a * 2` is no literal" in fault.text


@pytest.mark.parametrize(("cell", "words"), list(STEP_CELLS.items()))
def test_what_a_step_may_not_hold(tmp_path, cell, words):
    """The house rules of notebooks."""
    notebook = read_notebook(write_notebook(tmp_path / "x.ipynb", *NIGHT, cell))
    found = [str(fault) for fault in step_faults(notebook, "products")]
    assert len(found) == 1
    assert words in found[0]
    assert found[0].startswith("code cell 5")


def test_paths_of_products_belong_to_upstream_and_product(tmp_path):
    """A path among the other parameters hides a dependence."""
    parameters = f'{PARAMETERS}\nlog = "products/log"'
    notebook = read_notebook(write_notebook(tmp_path / "x.ipynb", parameters, *NIGHT[1:]))
    (fault,) = step_faults(notebook, "products")
    assert (fault.cell, fault.line) == (1, 5)


def test_a_function_of_the_library_or_of_another_notebook_is_not_written_again(tmp_path):
    """Found by its code, whatever its name."""
    known = "def other_name(text, prefix):\n    pass\n"
    source = (ROOT / "tasks/logs/origin.py").read_text()
    function = (
        source[source.index("def slug(") :].split("\n\n\n")[0].replace("def slug(", "def my_slug(")
    )
    cells = (*NIGHT, f"{known}\n\n{function}")
    found = [
        fault.text
        for fault in step_faults(
            read_notebook(write_notebook(tmp_path / "x.ipynb", *cells)), "products"
        )
    ]
    assert found == ["my_slug is tasks.logs.origin.slug already; import it"]
    show_top = "def show_top(field: str, n_values: int = 8) -> None:\n    with optional(f'the click rate by {field}'):\n        table = exploration.ctr_table(rows, field, label=declared.label)\n        table = table.nlargest(n_values, 'n_rows')\n        figures.rate_of(table, title=f'Click rate by {field}, largest values', overall=overall)"
    notebook = read_notebook(write_notebook(tmp_path / "y.ipynb", *NIGHT, show_top))
    assert [fault.text for fault in step_faults(notebook, "products")] == [
        "show_top is defined in explore.ipynb too; move it to tasks/ and import it in both"
    ]


def test_a_step_needs_a_question_an_assert_and_short_cells(tmp_path):
    """All are said together."""
    long = "\n".join(f"x{n} = {n}" for n in range(16))
    notebook = read_notebook(
        write_notebook(tmp_path / "x.ipynb", PARAMETERS, *[long] * 3, *["1"] * 22, title="# Rates")
    )
    found = [str(fault) for fault in step_faults(notebook, "products")]
    assert [one.split(":")[0] for one in found] == [
        "the first cell must be a text whose title is a question", "no cell asserts anything; an assert about the result is the step's test",
        "26 code cells; at most 25, so move code to tasks/", "code cell 4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem
)
def test_the_projects_own_notebooks_read_well(path):
    """The pipeline's steps and the template could be promoted; where other ideas begin there are no rules for steps."""
    notebook = read_notebook(path)
    is_step = path.stem not in ("template", "new_feature", "new_model")
    found = [*faults(notebook), *(step_faults(notebook, "products") if is_step else ())]
    assert [str(fault) for fault in found] == []
