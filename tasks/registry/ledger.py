"""The append-only record of every promotion decision; MLflow's aliases keep no history.

One JSON object a line. Each line carries the digest of the one before it, so that an edited or
deleted line is found by :func:`read_ledger`. It is a file, or an object on S3 that a team shares.
"""

import errno
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.errors import ChangedError, InputError, UnavailableError, disk_errors
from tasks.storage.locks import file_lock
from tasks.storage.s3 import is_s3
from tasks.storage.shared_files import read_shared, write_shared
from tasks.storage.workspace import resolve

FORCED = "forced"  # a person's decision, against the gates
MOVING = ("promoted", FORCED)  # decisions by which the champion changes
OVERRIDE = "CLICKLAB_LEDGER"
_SAME = ("evaluation", "model", "run_id", "decision", "why")  # of one decision
_FIRST = "0" * 16
_TRIES = 8


def append_decision(place: str | Path, decision: Mapping[str, Any]) -> dict[str, Any]:
    """Write one decision as the last line and return it as written; see :func:`append_decisions`."""
    return append_decisions(place, [decision])[-1]


def append_decisions(
    place: str | Path, decisions: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Write decisions as the last lines, all or none, and return the whole ledger, with time and digests.

    One of an evaluation that is there already is not written again, so a promotion that was interrupted can be repeated.
    In a file the lines go out in a single O_APPEND write and are synced, so a killed process leaves all of
    them or none. On S3 the object is replaced if nobody else did so meanwhile, else the lines follow theirs.

    Parameters
    ----------
    place
        A path, or an address of S3.
    decisions
        JSON-ready; ``evaluation`` is the digest of the evaluation that a decision is about.

    Raises
    ------
    InputError
        As :func:`read_ledger`; nothing is written then.
    DiskFullError
        If there is no room; the ledger stays as it was.
    """
    if is_s3(str(place)):
        return _append_to_object(str(place), decisions)
    path = Path(place)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(path):
            found = read_shared(str(path))
            content = found.content if found else b""
            entries = parse_ledger(content, path)
            if added := _chained(entries, decisions):
                _append_to_file(path, _break(content) + b"".join(map(_line, added)))
    return entries + added


def _append_to_file(path: Path, lines: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        n_before = os.fstat(handle).st_size
        try:
            if os.write(handle, lines) < len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, n_before)
            raise
    finally:
        os.close(handle)


def ledger_place(knob: str) -> str | Path:
    """Return where the ledger of ``mlflow.ledger`` lies: an address of S3 as it is, a path from the project's root.

    CLICKLAB_LEDGER overrides the knob, as MLFLOW_TRACKING_URI does the tracking store.
    """
    knob = os.environ.get(OVERRIDE) or knob
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
                "or move it and start a new one with `make ledger ACCEPT=1`"
            )
        entries.append(entry)
        previous = entry["digest"]
    return entries


def _append_to_object(address: str, decisions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    for _ in range(_TRIES):
        found = read_shared(address)
        content = found.content if found else b""
        entries = parse_ledger(content, address)
        added = _chained(entries, decisions)
        if not added:
            return entries
        try:
            lines = content + _break(content) + b"".join(map(_line, added))
            write_shared(address, lines, replaces=found.mark if found else None)
            return entries + added
        except ChangedError:
            continue
    raise UnavailableError(f"{address}: others wrote first {_TRIES} times; run again")


def _chained(
    before: list[dict[str, Any]], decisions: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the lines to add, without those that are there already."""
    added: list[dict[str, Any]] = []
    for decision in decisions:
        if _is_written(before, decision):
            continue
        last = (before + added)[-1:]
        entry = {
            "time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            **decision,
            "previous": last[0]["digest"] if last else _FIRST,
        }
        added.append(entry | {"digest": _digest(entry)})
    return added


def _is_written(entries: list[dict[str, Any]], decision: Mapping[str, Any]) -> bool:
    """Return whether a decision is in the ledger, and no other has moved the champion since."""
    if "evaluation" not in decision:
        return False
    for entry in reversed(entries):
        if entry.get("registered_name") != decision["registered_name"]:
            continue
        if all(entry.get(key) == decision.get(key) for key in _SAME):
            return True
        is_other = entry.get("evaluation") != decision["evaluation"]
        if entry["decision"] in MOVING and (is_other or decision["decision"] == FORCED):
            return False
    return False


def _break(content: bytes) -> bytes:
    """Return the line break that an editor took off the last line."""
    return b"" if not content or content.endswith(b"\n") else b"\n"


def _line(entry: Mapping[str, Any]) -> bytes:
    return (json.dumps(entry, sort_keys=True) + "\n").encode()


def _digest(entry: Mapping[str, Any]) -> str:
    body = {key: value for key, value in entry.items() if key != "digest"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
