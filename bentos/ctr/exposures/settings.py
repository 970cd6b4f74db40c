"""The knobs of the exposure log: ``exposures`` in ``serving.yaml``."""

import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from tasks.errors import ConfigError

FORMATS = ("jsonl", "parquet")
_LARGEST = 1e9


class ExposureSettings(NamedTuple):
    """Where exposures go, and how much may wait on the way; build it with :meth:`from_mapping`.

    Attributes
    ----------
    sink
        ``off``, ``stdout``, a folder, or ``s3://bucket/prefix``.
    format
        ``jsonl`` or ``parquet``; standard output takes ``jsonl`` only.
    rotate_mb, rotate_s
        A file is finished when it holds so much, or is so old.
    queue_rows
        What may wait in memory; a ranking counts as many rows as it has candidates. What comes
        beyond is dropped and counted.
    redact
        Fields whose values are written nowhere.
    spool
        Where files for S3 lie until they are there; by default a temporary folder of that address.
    spool_mb
        What may lie on disk and wait to be converted or uploaded; beyond it nothing more is written.
    """

    sink: str = "off"
    format: str = "jsonl"
    rotate_mb: float = 64
    rotate_s: float = 300
    queue_rows: int = 20_000
    redact: tuple[str, ...] = ()
    spool: str = ""
    spool_mb: float = 1_024

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> "ExposureSettings":
        """Return the settings that a mapping holds.

        Raises
        ------
        ConfigError
            If a key is unknown or its value cannot be meant; one line names it.
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
        for name in ("rotate_mb", "rotate_s", "queue_rows", "spool_mb"):
            _check_number(name, getattr(settings, name))
        if settings.format not in FORMATS:
            raise ConfigError(
                f"exposures: format must be {' or '.join(FORMATS)}, found {settings.format!r}"
            )
        if settings.sink == "stdout" and settings.format != "jsonl":
            raise ConfigError("exposures: standard output takes format jsonl only")
        if not isinstance(settings.spool, str):
            raise ConfigError(f"exposures: spool must be a folder, found {settings.spool!r}")
        return settings._replace(queue_rows=int(settings.queue_rows))

    @property
    def folder(self) -> Path:
        """The folder in which files are written: the sink itself, or the spool of S3."""
        if not self.sink.startswith("s3://"):
            return Path(self.sink)
        if self.spool:
            return Path(self.spool)
        mark = sha256(self.sink.encode()).hexdigest()[
            :8
        ]  # two services do not deliver each other's
        return Path(tempfile.gettempdir()) / f"clicklab-exposures-{mark}"


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


def _check_number(name: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= _LARGEST:
        raise ConfigError(f"exposures: {name} must be a number above 0, found {value!r}")
    if name == "queue_rows" and value != int(value):
        raise ConfigError(f"exposures: queue_rows must be an integer, found {value!r}")
