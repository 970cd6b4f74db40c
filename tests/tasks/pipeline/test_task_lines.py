"""What a person sees while tasks run, on a terminal and in a log."""

import io

import pytest
from rich.console import Console

from tasks.pipeline import task_lines
from tasks.pipeline.task_lines import TaskLines


def shown(*, is_terminal, width=60):
    """Return a stream, and lines that are written to it."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=is_terminal, width=width, color_system=None)
    return stream, TaskLines(console)


def test_a_log_gets_a_line_when_a_task_starts_and_ends():
    """No control characters."""
    stream, lines = shown(is_terminal=False)
    with lines:
        lines.started("ingest")
        lines.show({"ingest": (1.0, "10% of 400 rows")})
        lines.ended("ingest", 3.25, failed=False)
        lines.ended("train-fm", 1.0, failed=True)
    assert stream.getvalue().splitlines() == [
        "· ingest",
        "✓ ingest                3.2 s",
        "✗ train-fm              1.0 s",
    ]


def test_a_log_is_told_every_half_minute_how_far_a_task_is(monkeypatch):
    """However often it is asked."""
    clock = [1000.0]
    monkeypatch.setattr(task_lines.time, "monotonic", lambda: clock[0])
    stream, lines = shown(is_terminal=False)
    with lines:
        lines.started("train-fm")
        for second in range(1, 71):
            clock[0] += 1
            lines.show({"train-fm": (float(second), "epoch 2 of 8" if second > 40 else "")})
    assert stream.getvalue().splitlines() == [
        "· train-fm",
        "  train-fm after 0:30",
        "  train-fm after 1:00: epoch 2 of 8",
    ]


def test_a_terminal_shows_a_line_per_running_task_that_fits_its_width():
    """What has ended stays above; what runs is replaced, and removed at the end."""
    stream, lines = shown(is_terminal=True, width=50)
    with lines:
        lines.started("ingest")
        lines.show({"ingest": (1.0, "10% of 400 rows, and more than a line can hold at once")})
        lines.ended("ingest", 3.25, failed=False)
        lines.show({})
    text = stream.getvalue()
    assert "· ingest                1.0 s  10% of 400 rows, a…" in text
    assert "✓ ingest                3.2 s" in text
    assert "can hold" not in text


def test_a_dumb_terminal_is_a_log(monkeypatch):
    """Emacs' shell and some of CI's."""
    monkeypatch.setenv("TERM", "dumb")
    stream, lines = shown(is_terminal=True)
    with lines:
        lines.started("ingest")
    assert stream.getvalue() == "· ingest\n"


@pytest.mark.parametrize(("is_terminal", "every_s"), [(True, 0.2), (False, 1.0)])
def test_a_log_costs_less(is_terminal, every_s):
    """Nobody watches it."""
    assert shown(is_terminal=is_terminal)[1].every_s == every_s
