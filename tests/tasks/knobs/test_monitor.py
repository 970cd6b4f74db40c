"""Knobs of monitoring that contradict each other are one line."""

import pytest

from tests.tasks.knobs.test_reading import env_file, refusal


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "span_hours: 168",
            "span_hours: 169\n  window_hours: 24",
            "must be a multiple of window_hours",
        ),
        ("now_utc: null", "now_utc: yesterday", "now_utc must be a moment"),
        ("max_psi: 0.2", "max_psi: 0", "above 0"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, old, new, said):
    """Before anything is read."""
    changes = [("  window_hours: 1\n", "")] if "window_hours" in new else []
    assert said in refusal(env_file(tmp_path, *changes, (old, new)))
