"""Calls that may never return, such as reads of a folder on a network that hangs, waited for no longer than a deadline."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from bentos.ctr.models.sources import Source, SourceError

PEEK_S = 30.0  # to learn what a source holds, or to read the experiment
FETCH_S = 600.0  # to copy a model
_Found = TypeVar("_Found")


class Patience:
    """Makes calls in threads of their own, one at a time.

    A thread that hangs cannot be ended. It is left behind, and no other one is started until it returns.
    """

    def __init__(self) -> None:
        self._hanging: threading.Thread | None = None

    def call(self, work: Callable[..., _Found], *arguments: Any, seconds: float) -> _Found:
        """Return what a call returns, or raise what it raises.

        Raises
        ------
        TimeoutError
            If it does not return in time, or an earlier call has not returned yet.
        """
        if self._hanging is not None and self._hanging.is_alive():
            raise TimeoutError("an earlier call has not returned yet")
        found: list[_Found] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                found.append(work(*arguments))
            except BaseException as error:  # raised again by the caller
                errors.append(error)

        thread = threading.Thread(target=run, name="model-look", daemon=True)
        thread.start()
        thread.join(seconds)
        if thread.is_alive():
            self._hanging = thread
            raise TimeoutError(f"no answer within {seconds:g} s")
        if errors:
            raise errors[0]
        return found[0]


class PatientSource:
    """A source whose calls have a deadline; beyond it, the source counts as unreachable."""

    def __init__(self, source: Source, *, peek_s: float = PEEK_S, fetch_s: float = FETCH_S):
        self._source, self._patience = source, Patience()
        self._peek_s, self._fetch_s = peek_s, fetch_s

    def __str__(self) -> str:
        return str(self._source)

    def peek(self) -> str:
        """Return what the source returns; SourceError if it does not in time."""
        return self._call(self._source.peek, seconds=self._peek_s)

    def fetch(self, into: Path) -> Path:
        """Return the same."""
        return self._call(self._source.fetch, into, seconds=self._fetch_s)

    def _call(self, work: Callable[..., _Found], *arguments: Any, seconds: float) -> _Found:
        try:
            return self._patience.call(work, *arguments, seconds=seconds)
        except TimeoutError as error:
            raise SourceError(f"{self._source}: {error}") from None
