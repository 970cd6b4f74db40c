"""What ``ab_test`` shows, of any experiment: also one that cannot be read."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tasks.figures import ab_test as figures
from tasks.monitoring.ab_test.plan import Plan
from tasks.monitoring.ab_test.readout import read_out
from tasks.monitoring.ab_test.simulated import CONTROL, TREATMENT, World, simulate_experiment

PLAN = Plan({CONTROL: 1, TREATMENT: 1})
ROWS = simulate_experiment(World(units_per_day=300, days=4, lift=0.8))
FOUND = {
    "a lift": ROWS,
    "no clicks": ROWS._replace(y_true=np.zeros(len(ROWS.day))),
    "one arm": ROWS.take(ROWS.variant.is_(CONTROL)),
}


@pytest.mark.parametrize("rows", FOUND.values(), ids=FOUND)
def test_every_figure_and_table_is_drawn(rows):
    """Where there is nothing to draw, it says why."""
    readout = read_out(rows, PLAN)
    drawn = [figures.units_by_day(readout), figures.lift_by_slice(readout, TREATMENT)]
    drawn += [figures.lift_by_day(readout, TREATMENT, metric) for metric in ("ctr", "log_loss")]
    for figure in drawn:
        figure.canvas.draw()
        assert figure.axes[0].get_title(loc="left") or figure.axes[0].get_title()
        plt.close(figure)
    assert list(figures.arm_table(readout).index) == [CONTROL, TREATMENT]
    assert len(figures.power_table(readout)) == 2


def test_the_answer_begins_with_the_verdict():
    """Then log loss, which rises with the click rate, and the notes."""
    readout = read_out(ROWS, PLAN)
    lines = figures.answer(readout).splitlines()
    assert lines[0] == f"**{readout.verdict}**"
    assert "normalized entropy" in lines[2]
    assert lines[-1].startswith("- No covariate is used: no unit has impressions before")


def test_what_may_not_be_read_has_no_numbers_of_lifts():
    """Only why, and the notes."""
    text = figures.answer(read_out(FOUND["one arm"], PLAN))
    assert text.startswith("**Do not read this: ")
    assert "Log loss" not in text
