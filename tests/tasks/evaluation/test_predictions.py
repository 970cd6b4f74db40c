"""Predictions that cannot be judged are told from those that can."""

import numpy as np
import pytest

from tasks.evaluation.predictions import fault_of


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
def test_what_is_no_probability_is_named(bad):
    """With how often it occurs."""
    assert "for 2 of 4 rows" in fault_of(np.array([0.2, bad, bad, 0.5]))


def test_probabilities_have_no_fault():
    """Exactly 0 and 1 included."""
    assert fault_of(np.array([0.0, 0.5, 1.0])) is None
