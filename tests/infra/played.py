"""Scenarios of the rehearsal as parameters of a test."""

from collections.abc import Iterable
from typing import Any

import pytest


def each(scenarios: Iterable[Any]) -> list[Any]:
    """Return a parameter for each scenario, by its name: short ones run in CI, the others at night."""
    return [
        pytest.param(
            one, id=one.name, marks=pytest.mark.slow if one.is_short else pytest.mark.nightly
        )
        for one in scenarios
    ]
