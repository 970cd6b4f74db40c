"""Notebooks before a kernel starts: cells that are Python, and injected names that only the parameters cell assigns."""

import ast
import json

import pytest

from tasks.errors import InputError
from tasks.pipeline.notebook_cells import assigned, check_notebook
from tests.conftest import ROOT

INJECTED = {"upstream", "product", "model", "bits"}


def notebook(folder, *sources, tagged=0):
    """Write a notebook of these code cells; the one numbered `tagged` holds the parameters."""
    cells = [
        {
            "cell_type": "code",
            "metadata": {"tags": ["parameters"]} if number == tagged else {},
            "source": source.splitlines(keepends=True),
        }
        for number, source in enumerate(sources)
    ]
    path = folder / "a.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": ["# ?"]}, *cells]}))
    return path


def refusal(path):
    """Return what is said of a notebook, without its folder."""
    with pytest.raises(InputError) as caught:
        check_notebook(path, INJECTED)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{path.parent}/", "")


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_the_notebooks_of_the_project_pass(path):
    """With all names that any task injects."""
    names = {
        "upstream",
        "product",
        "code",
        "schema",
        "model",
        "training",
        "tracking",
        "seed",
        "engine",
    }
    check_notebook(
        path, names | {"bits", "batch_rows", "split_shares", "trial_rows", "gates", "evaluation"}
    )


BINDING = [
    "model = {}",
    "model += 1",
    "model: dict = {}",
    "(model := 1)",
    "a, (b, *model) = 1, (2, 3)",
    "for model in []: pass",
    "async for model in x(): pass",
    "with open('x') as model: pass",
    "import model",
    "import model.inner",
    "import numpy as model",
    "from numpy import array as model",
    "from numpy import model",
    "def model(): pass",
    "async def model(): pass",
    "class model: pass",
    "del model",
    "try: pass\nexcept ValueError as model: pass",
    "match 1:\n    case model: pass",
    "match 1:\n    case [*model]: pass",
    "match 1:\n    case {**model}: pass",
    "match 1:\n    case int() as model: pass",
    "if True:\n    while True:\n        model = 1",
    "def f():\n    global model\n    model = 1",
    "class A:\n    global model\n    model = 1",
    "model['kind'] = 'fm'",
    "model['search']['method'] += 'x'",
    "model.kind = 'fm'",
    "del model['kind']",
    "[model := x for x in []]",
    "def f(x=(model := 1)): pass",
    "%time model = 1",
    "model = !ls",
    "%%time\nmodel = 1",
]


@pytest.mark.parametrize("source", BINDING)
def test_an_injected_name_may_not_be_bound_in_another_cell(tmp_path, source):
    """By whatever form; the line names cell, name, and what to do instead."""
    said = refusal(notebook(tmp_path, "model = None", "1 + 1", source))
    assert "a.ipynb: code cell 3, line " in said
    assert (
        "assigns 'model', which the pipeline injects; change it in env.yaml, or in the parameters cell"
        in said
    )


@pytest.mark.parametrize(
    "source",
    [
        "x = model",
        "x = model['kind']",
        "f(model=1)",
        "dict(model=model)",
        "[model for model in []]",
        "{model: 1 for model in []}",
        "def f(model):\n    model = 1",
        "lambda model: model",
        "class A:\n    model = 1",
        "x.model = 1",
        "x['model'] = 1",
        "model.get('kind')",
        "'model = 1'",
        "# model = 1",
        "%%bash\nmodel=1",
        "%%html\n<b>model = 1</b>",
        "model?",
        "await x()",
        "print('\\d')",
    ],
)
def test_what_binds_nothing_passes(tmp_path, source):
    """Reading, scopes of their own, other languages."""
    check_notebook(notebook(tmp_path, "model = None", source), INJECTED)


def test_the_parameters_cell_may_bind_them_wherever_it_stands(tmp_path):
    """It holds the defaults that the injected ones replace."""
    check_notebook(notebook(tmp_path, "x = 1", "model = {}\nbits = 20", tagged=1), INJECTED)


def test_the_line_is_that_of_the_cell(tmp_path):
    """Below a magic of the whole cell, and behind blank lines."""
    said = refusal(notebook(tmp_path, "model = 1", "\n%%time\n1\n\nbits = 3"))
    assert "code cell 2, line 5: assigns 'bits'" in said


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1\ny = (2,", "code cell 2, line 2: '(' was never closed: y = (2,"),
        ("for x in y\n  pass", "code cell 2, line 1: expected ':': for x in y"),
        ("x = 1\n  y = 2", "code cell 2, line 2: unexpected indent: y = 2"),
        ("return 1", "code cell 2, line 1: 'return' outside function: return 1"),
        ("%matplotlib inline\nx = = 1", "code cell 2, line 2: invalid syntax: x = = 1"),
        ("%%time\nx = = 1", "code cell 2, line 2: invalid syntax: x = = 1"),
        ("x = '", "unterminated string literal"),
    ],
)
def test_a_syntax_error_is_one_line_with_its_cell_and_text(tmp_path, source, said):
    """A kernel would need seconds to start, and answers with 60 lines."""
    assert said in refusal(notebook(tmp_path, "model = 1", source))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"cells": 3}', '{"cells": [{"a": 1}]}', "null"]
)
def test_a_file_that_is_no_notebook_is_one_line(tmp_path, content):
    """Truncated, or another kind of JSON."""
    path = tmp_path / "a.ipynb"
    path.write_text(content)
    assert "a.ipynb: not a notebook" in refusal(path)


def test_a_half_merged_notebook_is_named(tmp_path):
    """Git's marks make it unreadable."""
    path = notebook(tmp_path, "model = 1")
    path.write_text("{\n<<<<<<< HEAD\n" + path.read_text()[1:] + "\n=======\n>>>>>>> theirs\n")
    assert "a.ipynb: half merged, git's marks begin in line 2; finish the merge" in refusal(path)


def test_a_notebook_that_is_missing_or_not_text_is_one_line(tmp_path):
    """pipeline.yaml names it."""
    path = tmp_path / "a.ipynb"
    assert "not found; pipeline.yaml names it" in refusal(path)
    path.write_bytes(b"\xff\xfe")
    assert "cannot be read" in refusal(path)


def test_a_notebook_without_a_parameters_cell_says_how_to_get_one(tmp_path):
    """Ploomber needs the tag."""
    assert "no cell is tagged `parameters`" in refusal(notebook(tmp_path, "x = 1", tagged=None))


def test_names_and_lines_are_those_of_the_code():
    """Each once per binding."""
    assert list(assigned(ast.parse("a = 1\nb = c = 2\na.x = 3"))) == [
        ("a", 1),
        ("b", 2),
        ("c", 2),
        ("a", 3),
    ]
