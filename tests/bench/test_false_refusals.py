"""The gates refuse the true probabilities rarely, and predictions that are 30% off where the clicks show it."""

import pytest

from bench.false_refusals import (
    OFF,
    TestPart,
    expected_power,
    predictions,
    share_refused,
)
from bench.false_refusals import (
    test_part as part_of,
)

WHERE = ("all rows", "one slice")


@pytest.fixture(scope="module", params=[(0.17, 16), (0.002, 64), (0.0005, 4)], ids=str)
def part(request) -> TestPart:
    """Test rows at a usual click rate, and at low ones."""
    return part_of(*request.param)


def test_the_true_probabilities_are_refused_rarely(part):
    """In at most 5% of draws, whatever the click rate and the number of slices."""
    assert share_refused(part, part.p_true, n_draws=100) <= 0.05


@pytest.mark.parametrize("factor", OFF)
@pytest.mark.parametrize("where", WHERE)
def test_predictions_off_by_30_percent_are_refused_as_often_as_their_clicks_allow(
    part, factor, where
):
    """Two witnesses: drawn clicks, and the normal distribution."""
    p_click = predictions(part, factor, where=where)
    power = expected_power(part, factor, where=where)
    seen = share_refused(part, p_click, n_draws=40)
    assert seen >= power - 0.25
    if power > 0.99:
        assert seen > 0.9
