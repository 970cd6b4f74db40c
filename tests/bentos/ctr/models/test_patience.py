"""Calls that never return: the caller goes on, and no second thread joins the first."""

import threading

import pytest

from bentos.ctr.models.patience import Patience, PatientSource
from bentos.ctr.models.sources import SourceError


def names():
    return [thread.name for thread in threading.enumerate() if thread.name == "model-look"]


def test_what_a_call_returns_or_raises_comes_back():
    """As if it had been made directly."""
    patience = Patience()
    assert patience.call(divmod, 7, 2, seconds=5) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        patience.call(divmod, 7, 0, seconds=5)


def test_a_call_that_hangs_is_left_behind_until_it_returns():
    """One thread waits, however often it is tried; then it works again."""
    patience, until = Patience(), threading.Event()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.05 s"):
        patience.call(until.wait, seconds=0.05)
    for _ in range(3):
        with pytest.raises(TimeoutError, match="has not returned yet"):
            patience.call(until.wait, seconds=0.05)
    assert len(names()) == 1
    until.set()
    patience._hanging.join()
    assert patience.call(until.wait, seconds=5) is True


def test_a_source_that_hangs_counts_as_unreachable(tmp_path):
    """Both when it is looked at and while a model is copied."""
    until = threading.Event()

    class Hangs:
        def __str__(self):
            return "folder /net"

        def peek(self):
            until.wait()

        def fetch(self, into):
            until.wait()

    for call in ("peek", "fetch"):
        source = PatientSource(Hangs(), peek_s=0.05, fetch_s=0.05)
        with pytest.raises(SourceError, match="folder /net: no answer within"):
            source.peek() if call == "peek" else source.fetch(tmp_path)
    until.set()
