"""How far a training has come, on disk, so that a killed one goes on from there to the same bits.

A checkpoint is one ``.npz``: the learner's arrays and numbers, and the caller's position beside them;
never a pickle. It carries a digest of all that the result depends on (rows, contract, learner, knobs, code,
versions). One that does not fit is left aside with one line, and training begins anew.
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

EVERY_S = 30.0  # between two within an epoch
MAX_SHARE = 0.02  # of the time so far that all of them may take
_BYTES_PER_S, _OPEN_S = 100e6, 0.02  # what the first one is thought to cost
_META = "meta"
_CODE = ("training", "evaluation/metrics.py", "models", "cluster")
_PACKAGES = ("numpy", "numba", "scikit-learn")
_MADE_ANEW = {"_loss_function_"}  # scikit-learn's, in every call

_UNREADABLE = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile)

_log = logging.getLogger(__name__)


class Checkpoint:
    """A file that a training leaves its position in.

    Parameters
    ----------
    path
        Where it lies; folders on the way are made.
    of
        What is trained, on what and how, as JSON can hold it; code and versions are added.
    """

    def __init__(self, path: str | Path, of: Mapping[str, Any]):
        self.path = Path(path)
        self._digest = _digest(of)
        self._since = self._saved = time.perf_counter()
        self._spent_s = 0.0
        self._cost_s: float | None = None

    def load(self, learner: Any) -> dict[str, Any] | None:
        """Bring a learner to where it was and return the position; None if there is nothing that fits."""
        for left in self.path.parent.glob(f".{self.path.name}.*.partial"):
            left.unlink(missing_ok=True)
        if not self.path.is_file():
            return None
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as found:
                meta = json.loads(found[_META].tobytes())
                fits = meta["digest"] == self._digest
                state, position = _unpack(meta["held"], found) if fits else ({}, {})
        except _UNREADABLE as error:
            _log.warning("%s: not readable (%s); training begins anew", self.path, error)
            return None
        if not fits:
            _log.warning(
                "%s: of other rows, knobs or code; it is not used, training begins anew", self.path
            )
            return None
        vars(core_of(learner)).update(state)
        _log.warning("%s: training goes on from here", self.path)
        return position

    def save(self, learner: Any, position: Mapping[str, Any]) -> None:
        """Write the file anew.

        Raises
        ------
        DiskFullError
            If there is no room for it; the last one stays.
        """
        begin = time.perf_counter()
        arrays: list[np.ndarray] = []
        held = _pack((learnt(learner), position), arrays)
        meta = {"digest": self._digest, "held": held}
        text = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
        with open_atomic(self.path) as handle:
            np.savez(handle, **{_META: text}, **{str(i): array for i, array in enumerate(arrays)})  # type: ignore[arg-type]
        self._saved = time.perf_counter()
        self._cost_s = self._saved - begin
        self._spent_s += self._cost_s

    def save_if_due(
        self, learner: Any, position: Mapping[str, Any], *, within_epoch: bool = False
    ) -> None:
        """Save unless that would cost more than its share, or is early within an epoch."""
        now = time.perf_counter()
        if within_epoch and now - self._saved < EVERY_S:
            return
        cost_s = self._cost_s
        if cost_s is None:
            cost_s = _OPEN_S + _n_bytes((learnt(learner), position)) / _BYTES_PER_S
        if self._spent_s + cost_s <= MAX_SHARE * (now - self._since):
            self.save(learner, position)


def learnt(learner: Any) -> dict[str, Any]:
    """Return what a learner holds beside its parameters: all that learning on depends on."""
    core = core_of(learner)
    skipped = _MADE_ANEW | set(core.get_params())
    return {name: value for name, value in vars(core).items() if name not in skipped}


def digest_of(learner: Any) -> str:
    """Return a digest of what a learner has learnt."""
    arrays: list[np.ndarray] = []
    content = hashlib.sha256(json.dumps(_pack(learnt(learner), arrays), sort_keys=True).encode())
    for array in arrays:
        content.update(np.ascontiguousarray(array).view(np.uint8).data)
    return content.hexdigest()


def core_of(learner: Any) -> Any:
    """Return the learner behind one that works on a cluster."""
    return getattr(learner, "learner", learner)


def _digest(of: Mapping[str, Any]) -> str:
    parts = [of, _code_digest(), platform.python_version(), *map(version, _PACKAGES)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@cache
def _code_digest() -> str:
    """Return a digest of the code that decides what is learnt."""
    here, content = Path(__file__).parents[1], hashlib.sha256()
    for name in _CODE:
        place = here / name
        for path in sorted(place.glob("*.py")) if place.is_dir() else [place]:
            content.update(path.name.encode() + path.read_bytes())
    return content.hexdigest()


def _pack(tree: Any, arrays: list[np.ndarray]) -> Any:
    """Return a tree as JSON can hold it; its arrays go to the list, their numbers stay."""
    if isinstance(tree, np.ndarray):
        arrays.append(tree)
        return {"array": len(arrays) - 1}
    if isinstance(tree, Mapping):
        return {"map": {name: _pack(value, arrays) for name, value in tree.items()}}
    if isinstance(tree, tuple | list):
        kind = "list" if isinstance(tree, list) else "tuple"
        return {kind: [_pack(value, arrays) for value in tree]}
    tree = tree.item() if isinstance(tree, np.generic) else tree
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(
        f"a checkpoint holds arrays, numbers, texts and trees of them, found {type(tree)}"
    )


def _unpack(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if not isinstance(tree, dict):
        return tree
    ((kind, value),) = tree.items()
    if kind == "array":
        return arrays[str(value)]
    if kind == "map":
        return {name: _unpack(inner, arrays) for name, inner in value.items()}
    inner = [_unpack(one, arrays) for one in value]
    return tuple(inner) if kind == "tuple" else inner


def _n_bytes(tree: Any) -> int:
    arrays: list[np.ndarray] = []
    _pack(tree, arrays)
    return sum(array.nbytes for array in arrays)
