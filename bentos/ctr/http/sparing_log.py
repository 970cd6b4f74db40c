"""Warnings that a client can cause at will, logged sparingly: one of a kind per while, with the number of the others."""

import logging
import time

_EVERY_S = 10.0
_MAX_KINDS = 64


class Sparing(logging.Filter):
    """Lets one warning of a kind pass per ten seconds; the next one says how many were left out."""

    def __init__(self, every_s: float = _EVERY_S):
        super().__init__()
        self._every_s = every_s
        self._kinds: dict[str, tuple[float, int]] = {}  # when the last one passed, left out since

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is logged; errors always are."""
        if record.levelno != logging.WARNING:
            return True
        kind, now = str(record.msg), time.monotonic()
        since, n_left_out = self._kinds.get(kind, (-self._every_s, 0))
        if now - since < self._every_s:
            self._kinds[kind] = (since, n_left_out + 1)
            return False
        if len(self._kinds) >= _MAX_KINDS:
            self._kinds.clear()
        self._kinds[kind] = (now, 0)
        if n_left_out:
            record.msg = f"{record.getMessage()} ({n_left_out} more were not logged)"
            record.args = None
        return True
