"""Pieces of YAML to values, and what is wrong with them."""

from dataclasses import dataclass

import pytest

from tasks.schemas.reading import Part, WrongPart, each_of, names_of, words_of


@dataclass(frozen=True)
class Lamp(Part):
    watts: int = 5
    kind: str = "desk"


def test_a_mapping_becomes_a_part():
    """A key may be called otherwise than the attribute, because Python keeps the word for itself."""
    assert Lamp.read({"watts": 7, "type": "wall"}, type="kind") == Lamp(7, "wall")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"wats": 7}, "unknown key 'wats'; did you mean 'watts'?"),
        ({"color": "red"}, "unknown key 'color'; known keys are \\['type', 'watts'\\]"),
        ({"kind": "wall"}, "unknown key 'kind'"),
        (["watts"], "expected a mapping"),
    ],
)
def test_a_key_that_is_not_there_is_named(raw, message):
    """With the nearest one that is."""
    with pytest.raises(ValueError, match=message):
        Lamp.read(raw, type="kind")


@pytest.mark.parametrize("listed", ["a", 7, {"a": 1}, ["a", 1], ["a", "a"]])
def test_names_are_a_list_of_different_texts(listed):
    """A text is not a list of its letters."""
    with pytest.raises(ValueError, match=r"expected a list of names|listed twice"):
        names_of(listed)


def test_words_are_what_a_log_would_hold():
    """YAML reads some words as numbers and booleans."""
    assert words_of(["NA", -1, True, 0.5, "NA"]) == ("NA", "-1", "true", "0.5")
    with pytest.raises(ValueError, match="put it in quotes"):
        words_of([None])


def test_a_wrong_entry_says_where_it_stands():
    """Its key or number is the path."""
    with pytest.raises(WrongPart, match="listed twice") as caught:
        each_of([["a", "b"], ["c", "c"]], lambda _, names: names_of(names))
    assert caught.value.path == (1,)
