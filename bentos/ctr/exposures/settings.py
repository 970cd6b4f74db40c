"""Settings of the exposure log: ``exposures`` in ``serving.yaml``."""

import logging
import os
import stat
import tempfile
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from bentos.ctr.positive_number import positive_number
from tasks.errors import ConfigError

FORMATS = ("jsonl", "parquet")
_log = logging.getLogger("clicklab.exposures")


class ExposureSettings(NamedTuple):
    """Where exposures go, and how many may wait on the way; built by :meth:`from_mapping`.

    Attributes
    ----------
    sink
        ``off``, ``stdout``, a folder, or ``s3://bucket/prefix``.
    format
        ``jsonl`` or ``parquet``; standard output takes ``jsonl`` only.
    rotate_mb, rotate_s
        A file is finished at this size or age.
    queue_rows
        Maximum number of rows waiting in memory; a ranking counts one row per candidate. Rows beyond
        it are dropped and counted.
    queue_mb
        The same in megabytes of lines.
    redact
        Fields whose values are never written.
    spool
        Folder of files that wait for upload to S3; by default one that only this user can open
        (:func:`private_spool`).
    spool_mb
        Maximum size of files waiting for conversion or upload; beyond it nothing more is written.
    """

    sink: str = "off"
    format: str = "jsonl"
    rotate_mb: float = 64
    rotate_s: float = 300
    queue_rows: int = 20_000
    queue_mb: float = 32
    redact: tuple[str, ...] = ()
    spool: str = ""
    spool_mb: float = 1_024

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> "ExposureSettings":
        """Return the settings that a mapping holds.

        Raises
        ------
        ConfigError
            If a key is unknown or its value is out of its domain; one line names it.
        """
        if not isinstance(raw, Mapping):
            raise ConfigError(
                f"exposures: expected a mapping such as {{sink: stdout}}, found {raw!r}"
            )
        if unknown := [key for key in raw if key not in cls._fields]:
            raise ConfigError(
                f"exposures: unknown key {unknown[0]!r}; known are {', '.join(cls._fields)}"
            )
        settings = cls(**{**raw, "sink": _sink(raw.get("sink", "off")), "redact": _redact(raw)})
        for name in ("rotate_mb", "rotate_s", "queue_mb", "spool_mb"):
            positive_number(f"exposures: {name}", getattr(settings, name))
        n_rows = positive_number("exposures: queue_rows", settings.queue_rows, is_integer=True)
        if settings.format not in FORMATS:
            raise ConfigError(
                f"exposures: format must be {' or '.join(FORMATS)}, found {settings.format!r}"
            )
        if settings.sink == "stdout" and settings.format != "jsonl":
            raise ConfigError("exposures: standard output takes format jsonl only")
        if not isinstance(settings.spool, str):
            raise ConfigError(f"exposures: spool must be a folder, found {settings.spool!r}")
        return settings._replace(queue_rows=n_rows)

    @property
    def folder(self) -> Path:
        """The folder in which files are written: the sink itself, or the spool of S3."""
        if not self.sink.startswith("s3://"):
            return Path(self.sink)
        return Path(self.spool or private_spool(self.sink))


@cache
def private_spool(sink: str) -> str:
    """Return a folder for files that wait for a sink, which only this user can open; the same after a restart.

    It lies in the user's home, or if that is read-only among the temporary files. A folder there that others could
    open, or have put there, is not used: a new one is made instead, whose files the next start does not find.
    """
    mark = sha256(sink.encode()).hexdigest()[:8]  # two services do not deliver each other's
    name = f"clicklab-exposures-{os.getuid()}-{mark}"
    for parent in (Path.home() / ".cache", Path(tempfile.gettempdir())):
        path = parent / name
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = path.lstat()
        except OSError:
            continue
        is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if is_own and not found.st_mode & 0o077:
            return str(path)
        _log.warning("%s is open to others, or somebody else's: not used as a spool", path)
    return tempfile.mkdtemp(prefix="clicklab-exposures-")


def _sink(raw: Any) -> str:
    if raw is False:  # YAML reads a bare `off` as false
        return "off"
    if not isinstance(raw, str) or not raw.strip():
        raise ConfigError(
            f"exposures: sink must be off, stdout, a folder or s3://bucket/prefix, found {raw!r}"
        )
    scheme, separator, rest = raw.partition("://")
    if separator and (scheme != "s3" or not rest.partition("/")[0]):
        raise ConfigError(f"exposures: sink {raw!r} is no address; write s3://bucket/prefix")
    return raw


def _redact(raw: Mapping[str, Any]) -> tuple[str, ...]:
    names = raw.get("redact") or ()
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"exposures: redact must be a list of field names, found {names!r}")
    return tuple(names)
