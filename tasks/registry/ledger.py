"""The append-only record of every promotion decision; MLflow's aliases keep no history.

One JSON object a line. Each line carries the digest of the one before it, so that an edited or
deleted line is found by :func:`read_ledger`.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.errors import InputError

_FIRST = "0" * 16


def append_decision(path: str | Path, decision: Mapping[str, Any]) -> dict[str, Any]:
    """Write one decision as the last line and return it as written (with time and digests).

    The line goes out in a single O_APPEND write and is synced, so a killed process leaves either
    the whole line or none.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = read_ledger(path)
    entry = {
        "time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        **decision,
        "previous": lines[-1]["digest"] if lines else _FIRST,
    }
    entry["digest"] = _digest(entry)
    data = (json.dumps(entry, sort_keys=True) + "\n").encode()
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)
    return entry


def read_ledger(path: str | Path) -> list[dict[str, Any]]:
    """Return all decisions, oldest first; an absent file is an empty ledger.

    Raises
    ------
    InputError
        If a line is not JSON or does not follow from the one before it.
    """
    path = Path(path)
    if not path.exists():
        return []
    entries: list[dict[str, Any]] = []
    previous = _FIRST
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            entry = json.loads(line)
            intact = entry["previous"] == previous and entry["digest"] == _digest(entry)
        except (json.JSONDecodeError, KeyError, TypeError):
            intact = False
        if not intact:
            raise InputError(
                f"{path}: line {number} was changed, cut or removed; restore the file from a backup, "
                "or move it to start a new ledger"
            )
        entries.append(entry)
        previous = entry["digest"]
    return entries


def _digest(entry: Mapping[str, Any]) -> str:
    body = {key: value for key, value in entry.items() if key != "digest"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
