"""The end of a ledger, noted outside of its file: a tag of the registered model, ``<number of lines>:<digest of the last>``.

The chain of digests shows that a line was changed, but not that the last ones are missing. The lines are written first, the
tag second: a ledger that is ahead of its tag is right, one that is behind was cut. A model without the tag is of an older release.
Each ledger has a tag of its own, named by where it lies: two clones on one store may keep ledgers of their own.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.errors import InputError
from tasks.registry import mlflow_store
from tasks.registry.ledger import append_decisions, ledger_place, read_ledger
from tasks.storage.databases import sqlite_path
from tasks.storage.s3 import is_s3
from tasks.storage.workspace import resolve_store

HEAD = "clicklab.ledger"


def tag_of(place: str | Path) -> str:
    """Return the name of a ledger's tag.

    Examples
    --------
    >>> tag_of("s3://bucket/ledger.jsonl")
    'clicklab.ledger.aa35ed56'
    """
    where = str(place) if is_s3(str(place)) else str(Path(place).absolute())
    return f"{HEAD}.{hashlib.sha256(where.encode()).hexdigest()[:8]}"


def read_anchored(client: Any, name: str, place: str | Path) -> list[dict[str, Any]]:
    """Return all decisions, oldest first, of a ledger that goes as far as the registry knows.

    Parameters
    ----------
    client
        Of :func:`tasks.registry.mlflow_store.connect`.
    name
        The registered model.
    place
        The ledger.

    Raises
    ------
    InputError
        If the last lines, or the file, are missing; and as :func:`tasks.registry.ledger.read_ledger`.
    """
    known = _head(client, name, place)  # before the file: others append to it meanwhile
    entries = read_ledger(place)
    if known is None:
        return entries
    number, _, digest = known.partition(":")
    n_lines = int(number) if number.isdecimal() else -1
    if 0 <= n_lines <= len(entries) and (not n_lines or entries[n_lines - 1]["digest"] == digest):
        return entries
    found = _as_head(entries) if entries else "nothing"
    raise InputError(
        f"{place}: {name} in MLflow knows a ledger as far as {known} (number and digest of its last line), the file holds "
        f"{found}; restore it from a backup, or go on with what is there: `make ledger ACCEPT=1`"
    )


def append_anchored(
    client: Any, name: str, place: str | Path, decisions: Sequence[Mapping[str, Any]]
) -> None:
    """Write decisions as :func:`tasks.registry.ledger.append_decisions` does, and note the new end."""
    _note(client, name, place, append_decisions(place, decisions))


def read_with_knobs(
    tracking: Mapping[str, str], name: str, *, accept: bool = False
) -> list[dict[str, Any]]:
    """Return all decisions of the ledger that the knobs name; with `accept` its end is right as it is.

    Parameters
    ----------
    tracking
        ``tracking_uri`` and ``ledger`` as in ``env.yaml``.

    Raises
    ------
    InputError, ConfigError, UnavailableError
        As :func:`read_anchored` and :func:`tasks.registry.mlflow_store.connect`.
    """
    place = ledger_place(tracking["ledger"])
    address = os.environ.get("MLFLOW_TRACKING_URI") or tracking["tracking_uri"]
    local = sqlite_path(resolve_store(address))
    if local is not None and not local.exists():
        return read_ledger(place)  # connecting would create a store
    client = mlflow_store.connect(tracking["tracking_uri"])
    if not accept:
        return read_anchored(client, name, place)
    entries = read_ledger(place)
    _note(client, name, place, entries)
    return entries


def _note(client: Any, name: str, place: str | Path, entries: Sequence[Mapping[str, Any]]) -> None:
    if mlflow_store.find_registered(client, name) is not None:  # it is, once a model may serve
        client.set_registered_model_tag(name, tag_of(place), _as_head(entries))


def _head(client: Any, name: str, place: str | Path) -> str | None:
    found = mlflow_store.find_registered(client, name)
    return None if found is None else dict(found.tags).get(tag_of(place))


def _as_head(entries: Sequence[Mapping[str, Any]]) -> str:
    return f"{len(entries)}:{entries[-1]['digest'] if entries else ''}"
