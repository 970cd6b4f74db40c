"""Checks of learners' parameters."""

import numpy as np
import pytest

from tasks.errors import ConfigError
from tasks.models.params import is_integer_between, require_number


@pytest.mark.parametrize("value", [1, 0.5, np.float32(2), np.int64(3)])
def test_a_finite_number_is_accepted(value):
    """Python's and NumPy's."""
    require_number("ftrl", "alpha", value, positive=True)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), True, "1", None])
def test_anything_else_is_named(value):
    """With the learner, the parameter, its domain and the value."""
    with pytest.raises(ConfigError, match="ftrl: l1 must be a finite number 0 or above, found "):
        require_number("ftrl", "l1", value)


def test_zero_is_allowed_unless_the_number_must_be_positive():
    """No penalty is a choice, no learning rate is none."""
    require_number("ftrl", "l1", 0)
    with pytest.raises(ConfigError, match="alpha must be a finite number above 0, found 0"):
        require_number("ftrl", "alpha", 0.0, positive=True)


@pytest.mark.parametrize(
    ("value", "inside"), [(1, True), (64, True), (np.int32(5), True), (0, False), (65, False), (2.0, False), (True, False)]
)  # fmt: skip
def test_an_integer_lies_between_its_bounds(value, inside):
    """Both included; a float or boolean is no integer."""
    assert is_integer_between(value, 1, 64) is inside
