"""A client that causes a warning per request does not fill the log."""

import logging

import pytest

from bentos.ctr.http import sparing_log
from bentos.ctr.http.sparing_log import Sparing


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [100.0]
    monkeypatch.setattr(sparing_log.time, "monotonic", lambda: now[0])
    return now


def passed(sparing, text, level=logging.WARNING):
    """Return what is logged of a message, None if nothing is."""
    record = logging.LogRecord("x", level, "", 0, text, (), None)
    return record.getMessage() if sparing.filter(record) else None


def test_one_of_a_kind_is_logged_and_the_others_are_counted(clock):
    """The next one says how many there were; another kind has its own turn."""
    sparing = Sparing()
    assert [passed(sparing, "bad") for _ in range(5)] == ["bad", None, None, None, None]
    assert passed(sparing, "other") == "other"
    clock[0] += 11
    assert passed(sparing, "bad") == "bad (4 more were not logged)"
    clock[0] += 11
    assert passed(sparing, "bad") == "bad"


def test_errors_are_always_logged(clock):
    """No client causes them at will."""
    sparing = Sparing()
    assert [passed(sparing, "bad", logging.ERROR) for _ in range(3)] == ["bad"] * 3


def test_the_kinds_are_bounded(clock):
    """Each text is one."""
    sparing = Sparing()
    for number in range(1_000):
        passed(sparing, f"{number}")
    assert len(sparing._kinds) <= sparing_log._MAX_KINDS
