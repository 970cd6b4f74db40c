"""The files of a model's folder, and its golden rows: requests with the predictions that the pipeline made for them.

Publishing, packaging and the service's admission all compare a model against them before it may serve.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tasks.errors import ContractError, InputError
from tasks.storage.shared_files import read_regular

GOLDEN = "golden.json"
MODEL = "model.json"
MAX_BYTES = 256 << 20  # of an estimator's file, and of what it unpacks to
LIGHTGBM, SKOPS = ESTIMATOR_FILES = ("lightgbm.txt", "estimator.skops")
MAX_GOLDEN_BYTES = 64 << 20
TOLERANCE = 1e-6  # of a probability, wherever it is computed
_PART = r"(part\d{1,2}_)*"  # what a blend puts before the names of its parts' arrays


def estimator_file(key: str) -> str | None:
    """Return which of an estimator's files a part of a model is, also one within a blend; None for an array.

    Examples
    --------
    >>> estimator_file("part1_lightgbm.txt"), estimator_file("weights")
    ('lightgbm.txt', None)
    """
    own = re.sub(f"^{_PART}", "", key)
    return own if own in ESTIMATOR_FILES else None


def part_name(key: str) -> str:
    """Return the file of a part of a model: of an array by its name; an estimator's file has its own.

    Examples
    --------
    >>> part_name("weights"), part_name("lightgbm.txt")
    ('weights.npy', 'lightgbm.txt')
    """
    return key if estimator_file(key) else f"{key}.npy"


def is_model_file(name: str) -> bool:
    """Return whether a file of that name belongs to a model; other tools keep theirs in the same folder.

    Examples
    --------
    >>> [is_model_file(name) for name in ("weights.npy", "model.json", "MLmodel", "../weights.npy")]
    [True, True, False, False]
    """
    return (
        name in (GOLDEN, MODEL)
        or estimator_file(name) is not None
        or re.fullmatch(r"[a-z][a-z0-9_]{0,40}\.npy", name) is not None
    )


def read_part(folder: Path, key: str) -> Any:
    """Return an array of a model, memory-mapped, or the content of an estimator's file.

    Raises
    ------
    InputError
        If no part of a model has that name, or a file is too large to be held in memory.
    OSError, ValueError
        If it cannot be read.
    """
    import numpy as np

    path = folder / part_name(key)
    if not is_model_file(part_name(key)):  # the whole key: one with a `/` would lead elsewhere
        raise InputError(f"{folder / MODEL}: {key!r} is no part of a model; train the model again")
    if path.suffix == ".npy":
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES >> 20} MiB; make the model smaller")
    return path.read_bytes()


def model_files(folder: Path) -> list[str]:
    """Return the names of a model's files in a folder, ``model.json`` last."""
    names = (path.name for path in folder.iterdir() if path.is_file())
    return sorted(filter(is_model_file, names), key=lambda name: (name == MODEL, name))


class Golden(NamedTuple):
    """Requests, and the prediction that each of them must get.

    Attributes
    ----------
    rows
        Requests: column name to value.
    p_click
        Probabilities in [0, 1], one per row.
    """

    rows: Sequence[Mapping[str, Any]]
    p_click: Sequence[float]


def read_golden(folder: Path) -> Golden:
    """Return the golden rows of a model folder.

    Raises
    ------
    ContractError
        If they are missing, unreadable or empty; the message names the file.
    """
    path = folder / GOLDEN
    try:
        content = read_regular(path, max_bytes=MAX_GOLDEN_BYTES)
    except (OSError, InputError) as error:
        raise ContractError(f"{path}: no golden rows ({error}); package the model again") from None
    return load_golden(content, source=str(path))


def load_golden(content: bytes, *, source: str) -> Golden:
    """Return the golden rows in the content of a ``golden.json``; errors as :func:`check_golden_rows`."""
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ContractError(
            f"{source}: no golden rows ({error}); package the model again"
        ) from None
    return check_golden_rows(raw, source=source)


def check_golden_rows(raw: Any, *, source: str) -> Golden:
    """Return golden rows that arrive as a mapping of ``rows`` and ``p_click``.

    Parameters
    ----------
    raw
        Any value; usually decoded JSON.
    source
        Where it comes from, for the message.

    Raises
    ------
    ContractError
        If rows or predictions are missing, empty, of other types, or differ in number.

    Examples
    --------
    >>> check_golden_rows({"rows": [{"site_id": "1fbe01fe"}], "p_click": [0.25]}, source="example")
    Golden(rows=[{'site_id': '1fbe01fe'}], p_click=[0.25])
    """
    try:
        golden = Golden(list(raw["rows"]), [float(p) for p in raw["p_click"]])
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ContractError(
            f"{source}: no golden rows ({reason}); package the model again"
        ) from None
    if not golden.rows or len(golden.rows) != len(golden.p_click):
        raise ContractError(
            f"{source}: {len(golden.rows)} golden rows and {len(golden.p_click)} predictions; at least one "
            "row and one prediction per row are needed; run `evaluate` again"
        )
    for number, row in enumerate(golden.rows):
        if not isinstance(row, Mapping):
            raise ContractError(
                f"{source}: golden row {number} is not a JSON object, found {type(row).__name__}; "
                "run `evaluate` again"
            )
    return golden
