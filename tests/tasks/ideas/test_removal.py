"""What was inserted is found again though the file changed."""

import pytest

from tasks.ideas.removal import without, without_name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("features: [night2, night]\nb: 2\n", "features: [night2]\nb: 2\n"),
        ("features: [night, night2]  # two\n", "features: [night2]  # two\n"),
        ("features: [night2,\n           night]\n", "features: [night2]\n"),
        ("features: [night]\n", "features: []\n"),
        ("features:\n  - a   # one\n  - night\n  - night2\n", "features:\n  - a   # one\n  - night2\n"),
        ("features:\n  - a\n  - night", "features:\n  - a\n"),
        ("features:\n  - night\nb: 2\n", "features:\n  []\nb: 2\n"),
        ("features: [a]\ncrosses: [[b, night]]\n", None),
        ("features: [night, night]\n", None),
        ("features: night\n", None),
        ("features: [\n", None),
        ("other: 1\n", None),
    ],
)  # fmt: skip
def test_a_name_leaves_its_list(text, expected):
    """Others that begin like it stay, and so do other lists; what is odd is left alone."""
    assert without_name(text, "features", "night") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nfeatures: [night]\nb: 2\n", "a: 1\nb: 2\n"),
        ("features: [night]\n", ""),
        ("my_features: [night]\nfeatures: [night, x]\n", "my_features: [night]\nfeatures: [x]\n"),
    ],
)  # fmt: skip
def test_a_list_that_was_begun_goes_with_its_only_name(text, expected):
    """Unless others joined it."""
    added = {"path": "s.yaml", "text": "features: [night]\n", "list": "features", "name": "night"}
    assert without(text, added) == expected


def test_a_word_is_cut_from_its_own_line():
    """Another line may hold the same."""
    added = {"path": "x.md", "text": ", `b`", "line": "| one |"}
    assert without("| one | `a`, `b` |\n| two | `a`, `b` |\n", added) == "| one | `a` |\n| two | `a`, `b` |\n"  # fmt: skip
    assert without("| two | `a`, `b` |\n", added) is None
