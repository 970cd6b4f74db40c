"""The exposure log: a bounded queue of lines on the event loop, and a thread that writes them.

Lines are formatted on the event loop: a thread for that would contend for the interpreter lock and
cost the event loop more than it saves.
"""

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Collection
from typing import Any, NamedTuple

from bentos.ctr.exposures.record import MAX_LINE_BYTES, LineEncoder
from bentos.ctr.exposures.settings import ExposureSettings
from bentos.ctr.exposures.sinks import FileSink, Sink, StdoutSink

_log = logging.getLogger("clicklab.exposures")
_POLL_S = 0.05
_CHUNK_BYTES = 1 << 18  # joined and written at once
_RETRY_S = 0.5


class _Chunk(NamedTuple):
    """Lines written together."""

    lines: bytes
    n_exposures: int
    n_rows: int
    n_bytes: int


class ExposureLog:
    """Takes exposures on the event loop and writes them on a separate thread; one per process.

    Create it in the process that uses it, not before a fork. A failing sink delays no request:
    exposures wait in memory and are retried, and those that exceed the queue are dropped and counted.
    After :meth:`close`, ``n_put == n_written + n_dropped``. A killed process loses the exposures of its
    last twentieth of a second.

    Parameters
    ----------
    settings
        The sink, and how many rows and bytes may wait.
    columns
        The fields to log, normally the request's columns; if empty, all.

    Attributes
    ----------
    is_on : bool
        Whether there is a sink; if not, :meth:`put` does nothing.
    n_put, n_written : int
        Exposures received; exposures written to the sink.
    """

    def __init__(self, settings: ExposureSettings, *, columns: Collection[str] = ()):
        encoder = LineEncoder(columns=columns, redact=settings.redact)
        self.is_on = settings.sink != "off"
        self.n_put = self.n_written = 0
        self._encode = encoder.encode
        self._queue: deque[tuple[bytes, int]] = deque()  # a line, and how many rows it holds
        self._limit, self._max_bytes = settings.queue_rows, settings.queue_mb * 1e6
        self._rows_in = self._rows_out = 0  # each counted by one thread only
        self._bytes_in = self._bytes_out = 0
        self._n_refused = self._n_lost = self._n_failed = 0
        self._chunk: _Chunk | None = None  # encoded, not yet written
        self._is_failing = False
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._sink = _open_sink(settings, tuple(columns)) if self.is_on else None
        self._thread = threading.Thread(target=self._run, name="exposure-writer", daemon=True)
        if self.is_on:
            self._thread.start()
            atexit.register(self.close)

    def put(self, exposure: tuple[Any, ...]) -> None:
        """Take an exposure, as :class:`~bentos.ctr.exposures.record.Exposure` orders it; never waits.

        One that cannot be written as JSON, or whose line is longer than MAX_LINE_BYTES, counts as dropped.
        """
        if not self.is_on:
            return
        self.n_put += 1
        waiting = self._bytes_in - self._bytes_out
        if self._rows_in - self._rows_out >= self._limit or waiting >= self._max_bytes:
            self._n_refused += 1
            return
        try:
            line = self._encode(exposure)
        except Exception:  # one that cannot be written must not stop the others
            self._n_lost += 1
            if self._n_lost == 1:
                _log.exception("an exposure cannot be written as JSON and is dropped")
            return
        if len(line) > MAX_LINE_BYTES:
            self._n_refused += 1
            return
        seen = exposure[7]
        n_rows = len(seen[1]) if type(seen) is tuple else 1
        self._rows_in += n_rows
        self._bytes_in += len(line)
        self._queue.append((line, n_rows))

    @property
    def depth(self) -> int:
        """Rows that wait to be written, in the unit of ``queue_rows``."""
        return self._rows_in - self._rows_out

    @property
    def n_dropped(self) -> int:
        """Exposures that will never be written: the queue was full, the line too long, or closing took too long."""
        return self._n_refused + self._n_lost

    @property
    def n_failed(self) -> int:
        """Writes and deliveries that failed; what they were about is tried again."""
        return self._n_failed + (self._sink.n_failed if self._sink else 0)

    @property
    def n_set_aside(self) -> int:
        """Files with lines that cannot be converted, kept beside the others."""
        return self._sink.n_set_aside if self._sink else 0

    def close(self, timeout_s: float = 10) -> None:
        """Write what waits and finish the file; what is left after `timeout_s` counts as dropped."""
        if not self.is_on or self._closing.is_set():
            return
        self._limit = -1
        self._deadline = time.monotonic() + timeout_s
        self._closing.set()
        self._thread.join(timeout_s + 1)
        atexit.unregister(self.close)
        self._n_lost = self.n_put - self._n_refused - self.n_written
        if self.n_dropped:
            _log.warning("%d of %d exposures were dropped", self.n_dropped, self.n_put)

    # ---- on the writer's thread

    def _run(self) -> None:
        assert self._sink is not None
        wait_s = _POLL_S
        while True:
            closing = self._closing.wait(wait_s)  # asked first: what was put before is drained
            drained = self._drain(self._sink)
            self._sink.tick()
            if closing and (drained or time.monotonic() >= self._deadline):
                break
            wait_s = _POLL_S if drained else _RETRY_S
            if closing:
                time.sleep(_POLL_S)
        self._sink.close(self._deadline - time.monotonic())

    def _drain(self, sink: Sink) -> bool:
        """Write queued lines, one chunk at a time; False if the sink fails."""
        while (self._chunk or self._queue) and time.monotonic() < self._deadline:
            self._chunk = self._chunk or self._next_chunk()
            try:
                sink.write(self._chunk.lines)
            except Exception as error:  # a full disk, a closed pipe: the service must continue
                self._note_failure(error)
                return False
            self.n_written += self._chunk.n_exposures
            self._rows_out += self._chunk.n_rows
            self._bytes_out += self._chunk.n_bytes
            self._chunk, self._is_failing = None, False
        return True

    def _next_chunk(self) -> _Chunk:
        lines: list[bytes] = []
        n_rows = n_bytes = 0
        while self._queue and n_bytes < _CHUNK_BYTES:
            line, n_rows_in_it = self._queue.popleft()
            lines.append(line)
            n_rows += n_rows_in_it
            n_bytes += len(line)
        return _Chunk(b"\n".join([*lines, b""]), len(lines), n_rows, n_bytes)

    def _note_failure(self, error: Exception) -> None:
        self._n_failed += 1
        if not self._is_failing:
            reason = " ".join(str(error).split())[:300]
            _log.warning("exposures cannot be written and wait in memory: %s", reason)
        self._is_failing = True


def _open_sink(settings: ExposureSettings, columns: tuple[str, ...]) -> Sink:
    return StdoutSink() if settings.sink == "stdout" else FileSink(settings, columns=columns)
