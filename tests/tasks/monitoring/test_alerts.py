"""Alerts are large and more than chance; neighbouring windows are one."""

import numpy as np
import pytest

from tasks.monitoring.alerts import Finding, Limits, alarming, episodes
from tasks.monitoring.drift import calibration_findings, traffic_findings

LIMITS = Limits(0.5, 0.2, 0.1, 0.05, (0.8, 1.25))


def finding(window=0, chance=1e-9, is_large=True, subject="C14"):
    """Return a finding."""
    return Finding("psi", subject, window, 0.5, 0.2, chance, is_large)


def test_an_alert_is_large_and_unlikely():
    """Each alone is none."""
    found = [finding(), finding(chance=0.5), finding(is_large=False)]
    assert alarming(found, LIMITS, 1) == found[:1]


def test_many_hypotheses_need_smaller_chances():
    """Holm's rule: what is enough alone is not among a thousand."""
    alone = finding(chance=1e-3)
    assert alarming([alone], LIMITS, 1) == [alone]
    assert alarming([alone, *[finding(chance=0.5)] * 999], LIMITS, 1) == []


def test_a_week_keeps_its_promise_under_the_null():
    """Uniform chances, 60 hypotheses an hour, 400 weeks: as many false alarms as promised for one family."""
    rng = np.random.default_rng(1)
    n_alerts = sum(
        len(alarming([finding(chance=one) for one in rng.random(60)], LIMITS, 24)) > 0
        for _ in range(400 * 7)
    )
    assert 0.15 <= n_alerts / 400 <= 0.3


def test_windows_next_to_each_other_are_one_alert():
    """A gap ends it; the least likely window is shown."""
    found = episodes([finding(3), finding(1, chance=1e-12), finding(9)], gap=1)
    windows = [(one["first_window"], one["last_window"], one["n_windows"]) for one in found]
    assert windows == [(1, 3, 2), (9, 9, 1)]
    assert found[0]["chance"] == 1e-12


def test_what_is_wrong_everywhere_is_no_finding_about_a_slice():
    """A slice is judged net of the whole."""
    part = np.tile([100.0, 10.0, 20.0, 30.0], (50, 1))
    alone = calibration_findings({"site": part}, LIMITS, 0)[0]
    net = calibration_findings({"site": part}, LIMITS, 0, overall=2.0)[0]
    assert alone.is_large and alone.value == 2.0
    assert not net.is_large and net.chance == pytest.approx(1, abs=0.2)


def test_a_new_variant_is_no_finding_but_one_that_stops_is():
    """Held against the windows before."""
    old, new = np.array([90, 90, 90, 0]), np.array([0, 0, 0, 90])
    assert [
        one.subject for one in traffic_findings({"old": old, "new": new}, 3) if one.is_large
    ] == ["old"]
    assert not any(
        one.is_large and one.chance < 0.9 for one in traffic_findings({"old": old, "new": new}, 1)
    )
