"""What the monitoring notebook draws, also where there is nothing to draw."""

import matplotlib.pyplot as plt
import pytest

from tasks.figures import monitor as figures
from tasks.monitoring.record import Alert, Delay, Drift, MonitorRecord, OpenWindow, Quality

DAY = "2026-03-01T{:02}:00:00Z"


def record(**changes):
    """Return a record of three windows."""
    numbers = {"ctr": 0.1, "ctr_low": 0.08, "ctr_high": 0.12, "mean_p_click": 0.11}
    numbers |= {
        "calibration_ratio": 1.1,
        "calibration_ratio_low": 0.9,
        "calibration_ratio_high": 1.3,
    }
    parts = [("window", DAY.format(hour)) for hour in range(3)] + [
        ("variant", "champion v1"),
        ("all", "all"),
    ]
    given = {
        "start_utc": DAY.format(0), "now_utc": DAY.format(6), "window_hours": 1, "attribution_hours": 24,
        "max_false_alarms_per_week": 0.5, "counts": {}, "notes": [], "delay": Delay(60.0, 3600.0, 12.0), "n_mature": 1000,
        "quality": [Quality(part, name, 1000, 100, 110.0, **numbers) for part, name in parts],
        "open_windows": [OpenWindow(DAY.format(3), 1000, 50, 0.5, 50.0)],
        "drift": [Drift("C14", 0.4, 0.1, 0.1, 0.0, 0.0, 0.2, 0.1)], "psi_by_window": {"C14": [0.1, None, 0.4]},
        "alerts": [Alert("psi", "C14", DAY.format(2), DAY.format(2), 1, 0.4, 0.2, 1e-9, True, "C14 differs")],
    }  # fmt: skip
    return MonitorRecord(**(given | changes))


EMPTY = record(quality=[], open_windows=[], drift=[], psi_by_window={}, alerts=[], delay=None)


@pytest.mark.parametrize("one", [record(), EMPTY], ids=["full", "empty"])
def test_every_figure_is_drawn(one):
    """With windows, variants and fields, and without any."""
    drawn = [
        figures.predicted_and_observed(one),
        figures.calibration(one.parts("variant"), title="x", limits=[0.8, 1.25]),
        figures.open_labels(one),
        figures.drift(one, max_psi=0.2),
        figures.drift_over_time(one),
    ]
    for figure in drawn:
        figure.canvas.draw()
        assert figure.axes[0].get_title(loc="left") or figure.axes[0].get_title()
    plt.close("all")


def test_the_answer_names_clicks_and_alerts():
    """And says so if there are none."""
    assert "ALERT psi C14 differs" in figures.answer(record())
    assert "no alerts" in figures.answer(EMPTY)
