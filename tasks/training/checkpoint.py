"""Checkpoints: the state of a training run on disk, so that a killed run resumes and ends with the same bits.

A checkpoint is one ``.npz``, never a pickle: the learner's arrays and numbers, and the state of the run. It
carries a digest of everything the result depends on (rows, contract, learner, knobs, code, versions). One
that does not fit is ignored with a warning of one line, and training starts over.
"""

import hashlib
import json
import logging
import platform
import time
import zipfile
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tasks.storage.files import open_atomic

EVERY_S = 30.0  # seconds between two checkpoints within an epoch
MAX_SHARE = 0.02  # limit of the time spent on checkpoints, as a share of the time so far
_BYTES_PER_S, _OPEN_S = 100e6, 0.02  # estimated cost of the first one
_META = "meta"
_CODE = (
    "training",
    "evaluation/metrics.py",
    "evaluation/rows.py",
    "models",
    "cluster",
    "hashing/codes.py",
)
_PACKAGES = ("numpy", "numba", "scikit-learn")
_RECREATED = {"_loss_function_"}  # by scikit-learn, in every call

_UNREADABLE = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile)

_log = logging.getLogger(__name__)


class Checkpoint:
    """The checkpoint file of one training run.

    Parameters
    ----------
    path
        Its place; missing folders are created.
    of
        What identifies the run, JSON-ready: learner, rows, parameters. Code and versions are added.
    """

    def __init__(self, path: str | Path, of: Mapping[str, Any]):
        self.path = Path(path)
        self._digest = _digest(of)
        self._since = self._saved = time.perf_counter()
        self._spent_s = 0.0
        self._cost_s: float | None = None

    def load(self, learner: Any) -> dict[str, Any] | None:
        """Restore a learner and return the saved state of the run; None if no checkpoint fits."""
        for left in self.path.parent.glob(f".{self.path.name}.*.partial"):
            left.unlink(missing_ok=True)
        if not self.path.is_file():
            return None
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as found:
                meta = json.loads(found[_META].tobytes())
                fits = meta["digest"] == self._digest
                learned, state = unpack(meta["held"], found) if fits else ({}, {})
        except _UNREADABLE as error:
            _log.warning("%s: not readable (%s); training starts over", self.path, error)
            return None
        if not fits:
            _log.warning(
                "%s: written for other rows, knobs or code; ignored, training starts over",
                self.path,
            )
            return None
        vars(local_learner(learner)).update(learned)
        _log.warning("%s: training resumes from here", self.path)
        return state

    def save(self, learner: Any, state: Mapping[str, Any]) -> None:
        """Replace the file.

        Raises
        ------
        DiskFullError
            If there is no room for it; the previous one stays.
        """
        begin = time.perf_counter()
        arrays: list[np.ndarray] = []
        held = pack((learned_state(learner), state), arrays)
        meta = {"digest": self._digest, "held": held}
        text = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
        with open_atomic(self.path) as handle:
            np.savez(handle, **{_META: text}, **{str(i): array for i, array in enumerate(arrays)})  # type: ignore[arg-type]
        self._saved = time.perf_counter()
        self._cost_s = self._saved - begin
        self._spent_s += self._cost_s

    def save_if_due(
        self, learner: Any, state: Mapping[str, Any], *, within_epoch: bool = False
    ) -> None:
        """Save, unless it would exceed its share of the time or comes too soon within an epoch."""
        now = time.perf_counter()
        if within_epoch and now - self._saved < EVERY_S:
            return
        cost_s = self._cost_s
        if cost_s is None:
            cost_s = _OPEN_S + _n_bytes((learned_state(learner), state)) / _BYTES_PER_S
        if self._spent_s + cost_s <= MAX_SHARE * (now - self._since):
            self.save(learner, state)


def learned_state(learner: Any) -> dict[str, Any]:
    """Return the attributes of a learner besides its parameters: everything further learning depends on."""
    core = local_learner(learner)
    skipped = _RECREATED | set(core.get_params())
    return {name: value for name, value in vars(core).items() if name not in skipped}


def state_digest(learner: Any) -> str:
    """Return a digest of :func:`learned_state`."""
    arrays: list[np.ndarray] = []
    content = hashlib.sha256(
        json.dumps(pack(learned_state(learner), arrays), sort_keys=True).encode()
    )
    for array in arrays:
        content.update(np.ascontiguousarray(array).view(np.uint8).data)
    return content.hexdigest()


def identity_of(learner: Any, train: Any, valid: Any) -> dict[str, Any]:
    """Return what identifies a checkpoint: the rows, by the digests of their plans, and the initial learner."""
    core = local_learner(learner)
    return {
        "rows": [rows.manifest["digest"] for rows in (train, valid) if rows is not None],
        "learner": type(core).__name__,
        "params": core.get_params(),
        "learned": state_digest(core),
        "n_shards": getattr(learner, "n_shards", 1),
    }


def local_learner(learner: Any) -> Any:
    """Return the learner itself, or the local copy of one that works on a cluster."""
    return getattr(learner, "learner", learner)


def _digest(of: Mapping[str, Any]) -> str:
    parts = [of, _code_digest(), platform.python_version(), *map(version, _PACKAGES)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@cache
def _code_digest() -> str:
    """Return a digest of the code that the weights depend on."""
    here, content = Path(__file__).parents[1], hashlib.sha256()
    for name in _CODE:
        place = here / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            content.update(path.relative_to(here).as_posix().encode() + path.read_bytes())
    return content.hexdigest()


def pack(tree: Any, arrays: list[np.ndarray]) -> Any:
    """Return a tree as JSON-ready data; arrays are appended to the list and replaced by their index."""
    if isinstance(tree, np.ndarray):
        arrays.append(tree)
        return {"array": len(arrays) - 1}
    if isinstance(tree, Mapping):
        return {"map": {name: pack(value, arrays) for name, value in tree.items()}}
    if isinstance(tree, tuple | list):
        kind = "list" if isinstance(tree, list) else "tuple"
        return {kind: [pack(value, arrays) for value in tree]}
    tree = tree.item() if isinstance(tree, np.generic) else tree
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(
        f"a checkpoint holds arrays, numbers, text and trees of them, found {type(tree)}"
    )


def unpack(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Return the tree that :func:`pack` took apart, given its arrays by their numbers."""
    if not isinstance(tree, dict):
        return tree
    ((kind, value),) = tree.items()
    if kind == "array":
        return arrays[str(value)]
    if kind == "map":
        return {name: unpack(inner, arrays) for name, inner in value.items()}
    inner = [unpack(one, arrays) for one in value]
    return tuple(inner) if kind == "tuple" else inner


def _n_bytes(tree: Any) -> int:
    arrays: list[np.ndarray] = []
    pack(tree, arrays)
    return sum(array.nbytes for array in arrays)
