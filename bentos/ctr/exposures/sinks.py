"""Where lines are written: standard output, or files that are finished by size and age."""

import os
import select
import time
from typing import Protocol

from bentos.ctr.exposures.delivery import Delivery
from bentos.ctr.exposures.parts import Part, PartNames, create_part
from bentos.ctr.exposures.settings import ExposureSettings


class Sink(Protocol):
    """Takes complete lines, all or none: after an OSError the caller passes the same lines again."""

    @property
    def n_failed(self) -> int:
        """Failures other than those that `write` raised."""

    @property
    def n_set_aside(self) -> int:
        """Files with lines that cannot be converted, kept beside the others."""

    def write(self, lines: bytes) -> None:
        """Write lines; OSError if that fails."""

    def tick(self) -> None:
        """Do work that is due by time."""

    def close(self, timeout_s: float) -> None:
        """Finish."""


class StdoutSink:
    """Standard output; processes may share it, as writes of up to PIPE_BUF bytes are atomic."""

    n_failed = n_set_aside = 0

    def __init__(self, descriptor: int = 1):
        self._descriptor = descriptor
        self._rest = b""

    def write(self, lines: bytes) -> None:
        """Write lines; after an OSError, the next call resumes in the same lines."""
        self._rest = self._rest or lines
        while self._rest:
            written = os.write(self._descriptor, self._rest[: _whole_lines(self._rest)])
            self._rest = self._rest[written:]

    def tick(self) -> None:
        """Nothing is due."""

    def close(self, timeout_s: float) -> None:
        """Nothing to finish: every line is written."""


def _whole_lines(lines: bytes) -> int:
    """Return how many bytes of `lines` a pipe takes atomically, in complete lines."""
    end = lines.rfind(b"\n", 0, select.PIPE_BUF) + 1
    return end or lines.find(b"\n") + 1 or len(lines)


class FileSink:
    """Parts in a folder, each queued for delivery when it is large or old enough."""

    def __init__(self, settings: ExposureSettings, *, columns: tuple[str, ...] = ()):
        self._settings = settings
        self._names = PartNames()
        self._part: Part | None = None
        self._delivery = Delivery(settings, columns=columns)

    @property
    def n_failed(self) -> int:
        """Failed deliveries."""
        return self._delivery.n_failed

    @property
    def n_set_aside(self) -> int:
        """Files set aside by the delivery."""
        return self._delivery.n_set_aside

    def write(self, lines: bytes) -> None:
        """Append lines to the current file, or to a new one."""
        if self._part is None:
            if self._delivery.is_full:
                raise OSError(f"more than {self._settings.spool_mb:g} MB are waiting for delivery")
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
        """Finish the current file and wait for its delivery."""
        self._finish()
        self._delivery.close(timeout_s)

    def _finish(self) -> None:
        if self._part is not None:
            self._delivery.enqueue(self._part)
            self._part = None
