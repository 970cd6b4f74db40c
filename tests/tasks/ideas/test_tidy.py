"""Code as `make format` and `make lint` want it."""

from tasks.ideas.tidy import Finding, findings, tidied


def test_code_is_formatted_with_its_imports_sorted_and_used():
    """By the project's own rules."""
    assert tidied(
        "import os\nfrom b import c\nimport a\nx = c( a,'1' )\n", "tasks/features/x.py"
    ) == ('import a\nfrom b import c\n\nx = c(a, "1")\n')


def test_what_cannot_be_fixed_is_returned_with_its_line():
    """A module has no cells."""
    (found,) = findings("x = 1\nprint(x)\n", "tasks/features/x.py")
    assert found == Finding(0, 2, "`print` found (T201)")


def test_code_that_does_not_parse_is_left_alone():
    """Reading the notebook reports the fault."""
    assert tidied("def (", "tasks/x.py") == "def ("
