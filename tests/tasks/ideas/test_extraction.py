"""A function or class out of a notebook: it, what it needs, and its asserts."""

import ast

import pytest

from tasks.ideas.extraction import asserts_text, extract, find, module_text
from tasks.ideas.notebook import read_notebook
from tests.tasks.ideas.notebooks import write_notebook

IDEA = """
# How large is large.
LARGE = 100

def _half(n):
    return n // 2

@mark("C15")
# a comment that stays
def size(width: str | None) -> str | None:
    "Return the size."
    return "large" if _half(int(width)) > floor(LARGE) else None

UNUSED = 3
size("1")
assert size("300") == "large"
"""
IMPORTS = "import json\nfrom math import ceil, floor\nfrom marks import mark as mark"


@pytest.fixture
def notebook(tmp_path):
    """Return a function that reads a notebook of these cells, some of them tagged."""
    return lambda *cells: read_notebook(write_notebook(tmp_path / "x.ipynb", *cells))


def extracted(notebook, tag="feature", kind=ast.FunctionDef, name=""):
    node, number, faults = find(notebook, tag, kind, name)
    assert faults == []
    return extract(notebook, node, number, f"{tag}-test")


def test_a_definition_takes_along_what_it_needs_and_no_more(notebook):
    """Helpers and constants of its cell, and imports of any; comments right above stay."""
    found, faults = extracted(notebook("a = 1", IMPORTS, (IDEA, ["feature"])))
    assert faults == []
    module = module_text(found, "Size.")
    assert module.startswith('"""Size."""\n\n')
    assert set(found.imports) == {"from math import floor", "from marks import mark as mark"}
    assert "# How large is large.\nLARGE = 100" in module
    assert "def _half(n):" in module
    assert "UNUSED" not in module
    assert "assert" not in module
    ast.parse(module)


def test_its_asserts_are_its_test(notebook):
    """Those of its cell and of cells tagged so, with their loops and imports."""
    more = "cases = {'300': 'large'}\nfor width, expected in cases.items():\n    assert size(json.loads(json.dumps(width))) == expected"
    found, _ = extracted(
        notebook("a = 1", IMPORTS, (IDEA, ["feature"]), (more, ["feature-test"]), "assert a")
    )
    test = asserts_text(found, "Of size.", ["from tasks.features.size import size"])
    assert found.test_imports == ("import json",)
    body = ast.parse(test).body[-1]
    assert [type(one).__name__ for one in body.body] == ["Expr", "Assign", "Expr", "Assert", "Assign", "For"]  # fmt: skip
    assert "assert a\n" not in test


def test_cells_that_only_show_something_assert_nothing(notebook):
    """A test that cannot fail is none."""
    found, _ = extracted(notebook("a = 1", ("def f(x):\n    return x\nf(3)\nf", ["feature"])))
    assert found.tests == ()


def test_what_it_takes_from_another_cell_is_a_fault(notebook):
    """With the cell and the line."""
    cells = ("a = 1", "factor = 3", ("def f(x):\n    return x * factor", ["feature"]))
    _, (fault,) = extracted(notebook(*cells))
    assert str(fault) == "code cell 3, line 2: uses 'factor' of code cell 2; move it to this cell, or give it as an argument"  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "name", "words"),
    [
        ("x = 1", "", "is tagged `feature`, but defines no function"),
        ("def f(): pass\ndef g(): pass", "", "defines f, g; name one with AS="),
        ("def f(): pass", "g", "defines f, not 'g'; a feature is called as its function, so rename it there"),
        ("def _f(): pass", "", "but defines no function"),
    ],
)  # fmt: skip
def test_one_definition_has_to_be_meant(notebook, cell, name, words):
    """Names that begin with an underscore are helpers."""
    node, _, (fault,) = find(notebook("a = 1", (cell, ["feature"])), "feature", ast.FunctionDef, name)  # fmt: skip
    assert node is None
    assert words in str(fault)
    assert fault.cell == 2
