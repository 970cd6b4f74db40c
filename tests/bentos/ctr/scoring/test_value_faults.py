"""What a request may hold, and what is said of the rest."""

import pytest

from bentos.ctr.scoring.value_faults import MAX_CHARS, MAX_ITEMS, fault, list_fault


@pytest.mark.parametrize("value", ["", "x" * MAX_CHARS, 1, 0.5, True, None])
def test_text_numbers_booleans_and_nothing_are_values(value):
    """And so are lists of them."""
    assert fault(value) is None
    assert list_fault([value]) is None


@pytest.mark.parametrize("value", [[], {}, float("inf"), "x" * (MAX_CHARS + 1), "\0", "\ud800"])
def test_anything_else_is_none(value):
    """Nor an item of a list."""
    assert fault(value)
    assert list_fault(["a", value])


def test_a_time_is_no_boolean():
    """Where one is not wanted."""
    assert "found true or false" in fault(True, may_be_bool=False)


def test_a_list_may_not_be_long():
    """A request costs what it looks like."""
    assert "too long" in list_fault(["a"] * (MAX_ITEMS + 1))
