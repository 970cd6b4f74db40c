"""Where lines are written: standard output, or files that are finished by size and age."""

import os
import select
import time
from typing import Protocol

from bentos.ctr.exposures.delivery import Delivery
from bentos.ctr.exposures.parts import Part, PartNames, create_part
from bentos.ctr.exposures.settings import ExposureSettings


class Sink(Protocol):
    """Takes whole lines, all or none: after an OSError the same lines are offered again."""

    @property
    def n_failed(self) -> int:
        """Failures besides those that `write` raised."""

    def write(self, lines: bytes) -> None:
        """Write lines; OSError if that is impossible now."""

    def tick(self) -> None:
        """Do what is due by time."""

    def close(self, timeout_s: float) -> None:
        """Finish."""


class StdoutSink:
    """Standard output; several processes may share it, as no write is cut up that is small enough."""

    n_failed = 0

    def __init__(self, descriptor: int = 1):
        self._descriptor = descriptor
        self._rest = b""

    def write(self, lines: bytes) -> None:
        """Write lines; after an OSError, go on in the same lines where it happened."""
        self._rest = self._rest or lines
        while self._rest:
            written = os.write(self._descriptor, self._rest[: _whole_lines(self._rest)])
            self._rest = self._rest[written:]

    def tick(self) -> None:
        """Nothing is due."""

    def close(self, timeout_s: float) -> None:
        """Nothing to finish: every line is out."""


def _whole_lines(lines: bytes) -> int:
    """Return how much of `lines` a pipe takes in one piece, in whole lines."""
    end = lines.rfind(b"\n", 0, select.PIPE_BUF) + 1
    return end or lines.find(b"\n") + 1 or len(lines)


class FileSink:
    """Parts in a folder, each handed to the delivery when it is large or old enough."""

    def __init__(self, settings: ExposureSettings, *, columns: tuple[str, ...] = ()):
        self._settings = settings
        self._names = PartNames()
        self._part: Part | None = None
        self._delivery = Delivery(settings, columns=columns)

    @property
    def n_failed(self) -> int:
        """Failed deliveries."""
        return self._delivery.n_failed

    def write(self, lines: bytes) -> None:
        """Append lines to the present file, or to a new one."""
        if self._part is None:
            if self._delivery.is_full:
                raise OSError(f"more than {self._settings.spool_mb:g} MB wait to be delivered")
            self._part = create_part(self._settings.folder, self._names)
        self._part.append(lines)
        if self._part.n_bytes >= self._settings.rotate_mb * 1e6:
            self._finish()

    def tick(self) -> None:
        """Finish a file that is old enough."""
        part = self._part
        if part is not None and time.monotonic() - part.started >= self._settings.rotate_s:
            self._finish()

    def close(self, timeout_s: float) -> None:
        """Finish the present file and wait for its delivery."""
        self._finish()
        self._delivery.close(timeout_s)

    def _finish(self) -> None:
        if self._part is not None:
            self._delivery.hand_over(self._part)
            self._part = None
