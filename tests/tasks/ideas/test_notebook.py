"""A notebook that holds an idea: what is no such notebook, and what its parameters cell may hold."""

import ast

import pytest

from tasks.errors import InputError
from tasks.ideas.notebook import Fault, literals, read_notebook
from tests.tasks.ideas.notebooks import NIGHT, write_notebook


def test_cells_have_numbers_tags_and_trees(tmp_path):
    """Texts are not counted."""
    found = read_notebook(write_notebook(tmp_path / "night.ipynb", *NIGHT))
    assert [cell.number for cell in found.tagged("parameters")] == [1]
    assert list(found.trees) == [1, 2, 3, 4]
    assert found.faults == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("not json", "line 1 is not JSON"),
        ("{}", "no list of cells"),
        ('{"cells": [], "metadata": {}}', "has no code cell"),
        ('{"cells": [{"cell_type": "markdown", "source": ["# Why?"]}]}', "has no code cell"),
        ('{"cells": [{"cell_type": "code", "source": ["x <- 1"]}], "metadata": {"kernelspec": {"language": "R"}}}', "is a notebook in r"),
    ],
)  # fmt: skip
def test_what_is_no_notebook_of_python_is_refused(tmp_path, content, words):
    """In one line with the file's name."""
    path = tmp_path / "idea.ipynb"
    path.write_text(content)
    with pytest.raises(InputError, match=f"idea.ipynb: .*{words}"):
        read_notebook(path)


@pytest.mark.parametrize("name", ["missing.ipynb", "idea.py", "", "."])
def test_a_name_that_is_no_notebook_says_how_to_name_one(tmp_path, monkeypatch, name):
    """A folder, a module, nothing."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no such notebook; name one as NB="):
        read_notebook(name)


def test_cells_that_do_not_parse_are_faults_with_cell_and_line(tmp_path):
    """Each of them, so that they can be mended together."""
    cells = ("a = 1", "b = (", "%%bash\nls", "c = 3\nc = = 4")
    found = read_notebook(write_notebook(tmp_path / "x.ipynb", *cells))
    assert [(fault.cell, fault.line) for fault in found.faults] == [(2, 1), (3, 1), (4, 2)]
    assert "is not Python (%%bash)" in str(found.faults[1])


@pytest.mark.parametrize(
    ("code", "values", "n_faults"),
    [
        ("a = 1\nb: float = -2.5\nc = [1, {'d': None}]\n'a text'\n# a comment", {"a": 1, "b": -2.5, "c": [1, {"d": None}]}, 0),
        ("a = 2 ** 3", {}, 1),
        ("a = 1\nb = a", {"a": 1}, 1),
        ("a = b = 1", {}, 1),
        ("a, b = 1, 2", {}, 1),
        ("import os", {}, 1),
        ("a = {1, 2}", {}, 1),
        ("a = b'x'", {}, 1),
        ("a = [(1, 2)]", {"a": [(1, 2)]}, 1),
        ("a: int", {}, 1),
    ],
)  # fmt: skip
def test_the_parameters_cell_holds_literals_that_yaml_can_hold(code, values, n_faults):
    """Computed values would not follow the injected ones."""
    found, faults = literals(ast.parse(code))
    assert (found, len(faults)) == (values, n_faults)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Fault(3, 2, "is odd"), "code cell 3, line 2: is odd"),
        (Fault(3, 0, "is odd"), "code cell 3: is odd"),
        (Fault(0, 0, "it is odd"), "it is odd"),
    ],
)
def test_a_fault_says_where_it_is(fault, text):
    """As far as that is known."""
    assert str(fault) == text
