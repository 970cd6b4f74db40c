"""The append-only record of every promotion decision; MLflow's aliases keep no history.

One JSON object a line. Each line carries the digest of the one before it, so that an edited or
deleted line is found by :func:`read_ledger`. It is a file, or an object on S3 that a team shares.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.errors import ChangedError, InputError, UnavailableError
from tasks.storage.locks import file_lock
from tasks.storage.s3 import is_s3
from tasks.storage.shared_files import read_shared, write_shared
from tasks.storage.workspace import resolve

_FIRST = "0" * 16
_TRIES = 8


def append_decision(place: str | Path, decision: Mapping[str, Any]) -> dict[str, Any]:
    """Write one decision as the last line and return it as written (with time and digests).

    In a file the line goes out in a single O_APPEND write and is synced, so a killed process leaves either
    the whole line or none. On S3 the object is replaced if nobody else did so meanwhile, else the line follows theirs.

    Parameters
    ----------
    place
        A path, or an address of S3.
    """
    if is_s3(str(place)):
        return _append_to_object(str(place), decision)
    path = Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(path):
        found = read_shared(str(path))
        content = found.content if found else b""
        entry = _chained(parse_ledger(content, path), decision)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, _break(content) + _line(entry))
            os.fsync(handle)
        finally:
            os.close(handle)
    return entry


def ledger_place(knob: str) -> str | Path:
    """Return where the ledger of ``mlflow.ledger`` lies: an address of S3 as it is, a path from the project's root."""
    return knob if is_s3(knob) else resolve(knob)


def read_ledger(place: str | Path) -> list[dict[str, Any]]:
    """Return all decisions, oldest first; an absent file is an empty ledger.

    Raises
    ------
    InputError
        If a line is not JSON or does not follow from the one before it.
    """
    found = read_shared(str(place))
    return parse_ledger(found.content if found else b"", place)


def parse_ledger(content: bytes, place: str | Path) -> list[dict[str, Any]]:
    """Return the decisions of a ledger's content; raises as :func:`read_ledger`, naming the place."""
    entries: list[dict[str, Any]] = []
    previous = _FIRST
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            entry = json.loads(line)
            intact = entry["previous"] == previous and entry["digest"] == _digest(entry)
        except (ValueError, KeyError, TypeError):
            intact = False
        if not intact:
            raise InputError(
                f"{place}: line {number} was changed, cut or removed; restore the file from a backup, "
                "or move it to start a new ledger"
            )
        entries.append(entry)
        previous = entry["digest"]
    return entries


def _append_to_object(address: str, decision: Mapping[str, Any]) -> dict[str, Any]:
    for _ in range(_TRIES):
        found = read_shared(address)
        content = found.content if found else b""
        entry = _chained(parse_ledger(content, address), decision)
        try:
            added = content + _break(content) + _line(entry)
            write_shared(address, added, replaces=found.mark if found else None)
            return entry
        except ChangedError:
            continue
    raise UnavailableError(f"{address}: others wrote first {_TRIES} times; run again")


def _chained(before: list[dict[str, Any]], decision: Mapping[str, Any]) -> dict[str, Any]:
    entry = {
        "time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        **decision,
        "previous": before[-1]["digest"] if before else _FIRST,
    }
    return entry | {"digest": _digest(entry)}


def _break(content: bytes) -> bytes:
    """Return the line break that an editor took off the last line."""
    return b"" if not content or content.endswith(b"\n") else b"\n"


def _line(entry: Mapping[str, Any]) -> bytes:
    return (json.dumps(entry, sort_keys=True) + "\n").encode()


def _digest(entry: Mapping[str, Any]) -> str:
    body = {key: value for key, value in entry.items() if key != "digest"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
