"""Delivers finished files to a folder or S3, as JSON lines or Parquet; retries until it succeeds.

A file keeps its ``.part`` name until it is delivered, so that the next process delivers what a killed one
left, and delivering twice has the same result as once.
"""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bentos.ctr.exposures.parts import Part, take_orphans
from bentos.ctr.exposures.settings import ExposureSettings
from tasks.storage.s3 import is_s3

_log = logging.getLogger("clicklab.exposures")
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
ASIDE = ".aside"  # no name that readers take


class Delivery:
    """A thread that delivers finished parts in turn, beginning with those of dead processes.

    Attributes
    ----------
    n_failed
        Attempts that failed.
    n_set_aside
        Files with lines that cannot be converted. The readable lines are delivered, and the file is kept as it is
        under a name that ends in ``.aside``; beyond ``spool_mb`` of them, the oldest are removed.
    """

    def __init__(self, settings: ExposureSettings, *, columns: Sequence[str] = ()):
        self._settings = settings
        self._columns = [name for name in columns if name not in settings.redact]
        self._waiting: deque[Part] = deque()
        self._wake, self._closing = threading.Event(), threading.Event()
        self.n_failed = self.n_set_aside = 0
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
            n_lost = deliver(part, self._settings, self._columns)
        except Exception as error:  # a full disk, S3, Arrow: the service must continue in any case
            self.n_failed += 1
            if not part.path.exists():
                _log.error("%s was removed from outside; its exposures are lost", part.path)
                return True
            reason = " ".join(str(error).split())[:300]
            _log.warning("%s cannot be delivered and will be retried: %s", part.path.name, reason)
            return False
        if n_lost:
            self._report_aside(part, n_lost)
        return True

    def _report_aside(self, part: Part, n_lost: int) -> None:
        self.n_set_aside += 1
        _log.warning(
            "exposures were set aside: %d lines of %s cannot be converted; the file is kept as %s",
            n_lost,
            part.path.name,
            part.path.with_suffix(ASIDE),
        )
        limit_aside(self._settings)


def limit_aside(settings: ExposureSettings) -> None:
    """Remove the oldest files set aside beyond ``spool_mb``, and say so."""
    n_bytes = 0.0
    for path in sorted(settings.folder.glob(f"*{ASIDE}"), key=_changed, reverse=True):
        with suppress(OSError):
            n_bytes += path.stat().st_size
            if n_bytes > settings.spool_mb * 1e6:
                path.unlink()
                _log.error("%s was removed: too many files were set aside", path.name)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def deliver(part: Part, settings: ExposureSettings, columns: Sequence[str]) -> int:
    """Move a part to its destination, converted if needed; return the number of lines that cannot be.

    A file with such lines is kept beside the others, under a name that ends in ``.aside``.
    """
    if part.n_bytes == 0:
        part.path.unlink()
        return 0
    n_lost, is_readable = 0, True
    name = f"day={part.day}/{part.stem}.{settings.format}"
    source = part.path
    if settings.format == "parquet":
        source = part.path.with_suffix("").with_suffix(".parquet.part")
        n_lost, is_readable = _convert(part.path, source, columns)
    if not is_readable:
        pass
    elif is_s3(settings.sink):
        _upload(source, f"{settings.sink.rstrip('/')}/{name}")
        source.unlink()
    else:
        target = settings.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
    if n_lost:
        part.path.rename(part.path.with_suffix(ASIDE))
    else:
        part.path.unlink(missing_ok=True)
    return n_lost


def _convert(path: Path, target: Path, columns: Sequence[str]) -> tuple[int, bool]:
    """Write lines as Parquet; return how many are lost, and whether there is a file to deliver."""
    from tasks.serving.exposure_files import write_parquet

    try:
        return write_parquet(path, target, columns=columns), True
    except (ValueError, TypeError, LookupError, NotImplementedError):  # Arrow's: no retry helps
        _log.exception("%s cannot be converted", path.name)
        return path.read_bytes().count(b"\n"), False


def _upload(path: Path, uri: str) -> None:
    from tasks.storage.s3 import s3_client

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    with path.open("rb") as content:
        s3_client().put_object(Bucket=bucket, Key=key, Body=content)
