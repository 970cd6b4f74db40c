"""The errors a user can mend, each with the exit code by which a scheduler tells them apart.

The command line turns any of these into one line and the exit code; everything else is a defect
and keeps its traceback. Codes stay below 125, where shells and containers begin their own.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # disk, quota, the process's own limit of a file


class ClicklabError(ValueError):
    """Something a user can mend: the message says what was found and what to do."""

    exit_code = 1


class InputError(ClicklabError):
    """The input cannot be used: a missing file, a wrong column, an unreadable archive."""

    exit_code = 2


class ConfigError(ClicklabError):
    """A knob is unknown, out of its range, or contradicts another."""

    exit_code = 3


class DivergenceError(ConfigError):
    """Training left the finite numbers: a learning rate is too high for these rows."""


class DataCheckError(ClicklabError):
    """The log was read, but breaks its data contract; trying again will not help."""

    exit_code = 4


class ContractError(ClicklabError):
    """Arrays, model and service do not share one hash contract."""

    exit_code = 5


class GateError(ClicklabError):
    """No model may serve: the gates refused every candidate and there is no champion."""

    exit_code = 6


class DiskFullError(ClicklabError):
    """There is no room left to write; trying again helps only where somebody has made some."""

    exit_code = 7


class UnavailableError(ClicklabError):
    """A service cannot be reached just now; the same task may well succeed a while later."""

    exit_code = 8


@contextmanager
def full_disk_in_one_line(place: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what a full disk raises into a DiskFullError that names the file or folder."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFullError(
            f"{os.fspath(place)}: cannot be written ({os.strerror(error.errno)}); "
            "make room and run the same command again"
        ) from None
