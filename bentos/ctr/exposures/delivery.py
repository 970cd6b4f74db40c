"""Delivers finished files to a folder or S3, as JSON lines or Parquet; retries until it succeeds.

A file keeps its ``.part`` name until it is delivered, so that the next process delivers what a killed one
left, and delivering twice has the same result as once.
"""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from bentos.ctr.exposures.parts import Part, take_orphans
from bentos.ctr.exposures.settings import ExposureSettings
from tasks.storage.s3 import is_s3

_log = logging.getLogger("clicklab.exposures")
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0


class Delivery:
    """A thread that delivers finished parts in turn, beginning with those of dead processes.

    Attributes
    ----------
    n_failed
        Attempts that failed.
    """

    def __init__(self, settings: ExposureSettings, *, columns: Sequence[str] = ()):
        self._settings = settings
        self._columns = [name for name in columns if name not in settings.redact]
        self._waiting: deque[Part] = deque()
        self._wake, self._closing = threading.Event(), threading.Event()
        self.n_failed = 0
        self._thread = threading.Thread(target=self._run, name="exposure-delivery", daemon=True)
        self._thread.start()

    @property
    def is_full(self) -> bool:
        """Whether the files waiting on disk exceed the limit for further writes."""
        waiting = sum(part.n_bytes for part in tuple(self._waiting))
        return waiting > self._settings.spool_mb * 1e6

    def enqueue(self, part: Part) -> None:
        """Take over a finished part, to be delivered and released."""
        self._waiting.append(part)
        self._wake.set()

    def close(self, timeout_s: float) -> None:
        """Deliver waiting parts; those not delivered in time stay on disk for the next start."""
        self._closing.set()
        self._wake.set()
        self._thread.join(max(timeout_s, 0))
        if self._waiting:
            _log.warning(
                "%d exposure files could not be delivered; they stay in %s and are delivered at the next start",
                len(self._waiting),
                self._settings.folder,
            )

    def _run(self) -> None:
        for part in take_orphans(self._settings.folder):
            _log.info("recovered %s, left by a process that died", part.path.name)
            self._waiting.append(part)
        wait_s = _FIRST_WAIT_S
        while True:
            closing = self._closing.is_set()  # read first: parts enqueued before get one attempt
            all_done = self._deliver_each()
            if closing:
                break
            self._wake.wait(None if all_done else wait_s)
            self._wake.clear()
            wait_s = _FIRST_WAIT_S if all_done else min(2 * wait_s, _LONGEST_WAIT_S)

        for part in self._waiting:
            part.release()

    def _deliver_each(self) -> bool:
        """Try to deliver every waiting part once; return whether none is left."""
        for _ in range(len(self._waiting)):
            part = self._waiting[0]
            if self._deliver(part):
                self._waiting.popleft()
                part.release()
            else:
                self._waiting.rotate(-1)  # one that keeps failing must not block the others
        return not self._waiting

    def _deliver(self, part: Part) -> bool:
        try:
            part.sync()
            deliver(part, self._settings, self._columns)
        except Exception as error:  # a full disk, S3, Arrow: the service must continue in any case
            self.n_failed += 1
            if not part.path.exists():
                _log.error("%s was removed from outside; its exposures are lost", part.path)
                return True
            reason = " ".join(str(error).split())[:300]
            _log.warning("%s cannot be delivered and will be retried: %s", part.path.name, reason)
            return False
        return True


def deliver(part: Part, settings: ExposureSettings, columns: Sequence[str]) -> None:
    """Move a part to its destination, converted if needed."""
    if part.n_bytes == 0:
        part.path.unlink()
        return
    name = f"day={part.day}/{part.stem}.{settings.format}"
    source = part.path
    if settings.format == "parquet":
        from tasks.serving.exposure_files import write_parquet

        source = part.path.with_suffix("").with_suffix(".parquet.part")
        write_parquet(part.path, source, columns=columns)
    if is_s3(settings.sink):
        _upload(source, f"{settings.sink.rstrip('/')}/{name}")
        source.unlink()
    else:
        target = settings.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
    part.path.unlink(missing_ok=True)


def _upload(path: Path, uri: str) -> None:
    from tasks.storage.s3 import s3_client

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    with path.open("rb") as content:
        s3_client().put_object(Bucket=bucket, Key=key, Body=content)
