"""Publishes models to services: versions side by side, and a small pointer to the one that serves.

The pointer is a JSON file, in a folder or on S3; the versions are stored beside it under ``versions/``
and never changed or removed. Services follow the pointer, so publishing and rolling back are the same
operation: the pointer is rewritten with one more entry in its history.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from tasks.errors import ClicklabError, ContractError, InputError
from tasks.models.golden import GOLDEN, TOLERANCE, load_golden, model_files
from tasks.storage.shared_files import SharedFile, join, put_files, read_shared, write_shared

FORMAT = 1
VERSIONS = "versions"
MAX_HISTORY = 1_000  # entries of a pointer; older ones are dropped
MAX_POINTER_BYTES = 4 << 20  # a larger file is not read


class Pointer(NamedTuple):
    """The content of a pointer, and the mark of the file it was read from.

    Attributes
    ----------
    version
        The version to serve.
    folder
        The folder of its files: relative to the pointer, or absolute.
    files
        Their names; empty if the pointer does not list them.
    history
        The last entries, up to MAX_HISTORY, the oldest first: ``version``, ``folder``, ``files``, ``action``, ``time_utc``.
    """

    version: str
    folder: str
    files: tuple[str, ...]
    history: tuple[Mapping[str, Any], ...]
    mark: str


def publish_model(
    folder: str | Path, pointer: str, *, golden: Mapping[str, Any] | None = None
) -> Pointer:
    """Copy a model folder beside a pointer, point to it, and return the new pointer.

    Parameters
    ----------
    folder
        Written by ``save_model``.
    pointer
        Path or S3 address of the pointer; it need not exist yet.
    golden
        Golden rows (``rows``, ``p_click``); by default those in the folder.

    Raises
    ------
    InputError
        If the model or its golden rows are missing, or the destination cannot be written.
    ContractError
        If the model does not reproduce its golden rows: every service would refuse it.
    ChangedError
        If the pointer was changed concurrently.
    """
    from tasks.models.artifact import load_model

    folder = Path(folder)
    model = load_model(folder)
    contents = {name: (folder / name).read_bytes() for name in model_files(folder)}
    if golden is not None:
        contents[GOLDEN] = json.dumps(golden).encode()
    _check(folder, model, contents.get(GOLDEN))
    place = f"{VERSIONS}/{model.version}-{_digest(contents)}"
    now = _read(pointer)
    if now is not None and now.folder == place:
        return now
    put_files(contents, join(pointer, place))
    target = {"version": model.version, "folder": place, "files": sorted(contents)}
    return _point(pointer, now, target, action="published")


def publish_alias(
    tracking_uri: str, name: str, pointer: str, *, alias: str = "champion"
) -> Pointer:
    """Publish the registered model behind an alias, with the golden rows that promotion stored with it.

    Raises
    ------
    ConfigError
        If MLflow cannot be used.
    InputError, ContractError, ChangedError
        If no version has the alias, and as :func:`publish_model`.
    """
    from tasks.registry import mlflow_store

    client = mlflow_store.connect(tracking_uri)
    with tempfile.TemporaryDirectory(prefix="clicklab-publish-") as folder:
        found = mlflow_store.find_alias(client, name, alias, folder=folder)
        if found is None:
            raise InputError(f"no version of {name} is its {alias}; promote a model first")
        return publish_model(found.folder, pointer)


def roll_back(pointer: str, *, to: str | None = None) -> Pointer:
    """Point to an earlier version again, and return the new pointer.

    Parameters
    ----------
    pointer
        Path or S3 address.
    to
        The version; by default the one that served before the current one was published.

    Raises
    ------
    InputError
        If there is no such pointer or version.
    ChangedError
        If the pointer was changed concurrently.
    """
    now = read_pointer(pointer)
    if to is None:
        chosen = _before(now)
    else:
        chosen = next((entry for entry in reversed(now.history) if entry["version"] == to), None)
    if chosen is None:
        known = ", ".join(dict.fromkeys(str(entry["version"]) for entry in now.history)) or "none"
        wanted = f"named version {to}" if to else f"named a version before {now.version}"
        raise InputError(f"{pointer}: never {wanted}; it named {known}")
    target = {key: chosen[key] for key in ("version", "folder", "files")}
    return _point(pointer, now, target, action="rolled back")


def read_pointer(pointer: str) -> Pointer:
    """Return the content of a pointer; InputError if there is none, ContractError if it is invalid."""
    found = _read(pointer)
    if found is None:
        raise InputError(f"{pointer}: there is no such pointer; publish a model first")
    return found


def parse_pointer(blob: SharedFile, *, address: str) -> Pointer:
    """Return the content of a pointer's file; ContractError if it is invalid."""
    try:
        raw = json.loads(blob.content)
        version, folder = raw["version"], raw["folder"]
        files, history = tuple(raw.get("files", ())), tuple(raw.get("history", ()))
        named = [version, folder, *files, *(entry["folder"] for entry in history)]
        if not (version and folder and all(isinstance(part, str) for part in named)):
            raise TypeError("version, folder and files are names")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ContractError(
            f"{address}: not a pointer to a model ({type(error).__name__}: {error}); publish the model again"
        ) from None
    return Pointer(version, folder, files, history, blob.mark)


def _read(pointer: str) -> Pointer | None:
    blob = read_shared(pointer, max_bytes=MAX_POINTER_BYTES)
    return None if blob is None else parse_pointer(blob, address=pointer)


def _before(now: Pointer) -> Mapping[str, Any] | None:
    """Return the entry before the last publication of the current version, None if there is none."""
    published = [
        number
        for number, entry in enumerate(now.history)
        if entry["folder"] == now.folder and entry["action"] == "published"
    ]
    earlier = now.history[: published[-1]] if published else ()
    return next((entry for entry in reversed(earlier) if entry["folder"] != now.folder), None)


def _point(pointer: str, now: Pointer | None, target: Mapping[str, Any], *, action: str) -> Pointer:
    time_utc = datetime.now(UTC).isoformat(timespec="seconds")
    history = [*(now.history if now else ()), {**target, "action": action, "time_utc": time_utc}]
    history = history[-MAX_HISTORY:]
    record = {"format": FORMAT, **target, "time_utc": time_utc, "history": history}
    content = (json.dumps(record, indent=1) + "\n").encode()
    write_shared(pointer, content, replaces=now.mark if now else None)
    return read_pointer(pointer)


def _check(folder: Path, model: Any, golden: bytes | None) -> None:
    """Raise unless the model reproduces its golden rows, as every service checks again."""
    if golden is None:
        raise InputError(
            f"{folder}: holds no {GOLDEN}, without which every service refuses the model; use the folder "
            "of a registered or packaged model"
        )
    rows, p_click = load_golden(golden, source=str(folder / GOLDEN))
    try:
        predicted = model.predict_rows(rows)
    except ClicklabError as error:
        raise ContractError(f"{folder}: its golden rows cannot be scored ({error})") from None
    for number, (found, expected) in enumerate(zip(predicted.tolist(), p_click, strict=True)):
        if not abs(found - expected) <= TOLERANCE:  # NaN too
            raise ContractError(
                f"{folder}: model and golden rows do not belong together: row {number} is predicted "
                f"{found!r}, expected {expected!r}; evaluate the model again"
            )


def _digest(contents: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(contents):
        digest.update(f"{name} {len(contents[name])}\n".encode() + contents[name])
    return digest.hexdigest()[:8]
