"""The errors a user can fix, each with an exit code that tells a scheduler what to do.

The command line turns any of these into one line and the exit code; everything else is a defect
and keeps its traceback. Codes stay below 125, where those of shells and containers begin.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # disk, quota, the process's own file size limit


class ClicklabError(ValueError):
    """Something a user can fix: the message says what was found and what to do."""

    exit_code = 1

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows of it: one line, as everywhere."""
        return [f"{type(self).__name__}: {self}"]


class InputError(ClicklabError):
    """The input cannot be used: a missing file, a wrong column, an unreadable archive."""

    exit_code = 2


class ChangedError(InputError):
    """Another process replaced a file or the champion meanwhile; running again starts from the new one."""


class ConfigError(ClicklabError):
    """A knob is unknown, out of its range, or contradicts another."""

    exit_code = 3


class DivergenceError(ConfigError):
    """Training reached a loss or weight that is not finite: the learning rate is too high for these rows."""


class DataCheckError(ClicklabError):
    """The log was read, but breaks its data contract; retrying will not help."""

    exit_code = 4


class DegenerateError(DataCheckError):
    """Rows from which no model can be learned, such as rows without a click."""


class ContractError(ClicklabError):
    """Arrays, model and service do not share one hash contract."""

    exit_code = 5


class GateError(ClicklabError):
    """No model may serve: the gates refused every candidate and there is no champion."""

    exit_code = 6


class DiskFullError(ClicklabError):
    """The disk is full; retrying helps only once space has been freed."""

    exit_code = 7


class UnavailableError(ClicklabError):
    """A service is temporarily unavailable; the same task may succeed later."""

    exit_code = 8


@contextmanager
def disk_errors(place: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what a full disk raises into a DiskFullError that names the file or folder."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFullError(
            f"{os.fspath(place)}: cannot be written ({os.strerror(error.errno)}); "
            "free some space and run the same command again"
        ) from None
