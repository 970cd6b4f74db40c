"""Files below the products that no task reads any more: checkpoints, bad rows of refused logs, replays."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.provenance.replay import remove_worktree
from tasks.retention.removable import Removable, is_older, n_bytes_below
from tasks.storage.workspace import project_root, resolve

_KINDS = {
    "checkpoint of a training that was not resumed": "*.checkpoint.npz",
    "bad rows of a refused log": "*-refused-quarantine.parquet",
    "part of a file that was being written": ".*.partial",
}


def leftovers(env: Mapping[str, Any]) -> Iterator[Removable]:
    """Yield what is left of trainings, logs and replays, once it has not changed for ``keep.days``."""
    products, days = resolve(env["products"]), env["keep"]["days"]
    replays = products / "replay"
    for kind, pattern in _KINDS.items():
        for path in sorted(products.rglob(pattern)):
            inside = path.is_relative_to(replays)
            if path.is_file() and not inside and is_older(path.lstat().st_mtime, days):
                yield Removable(kind, _shown(path), path.lstat().st_size, _removal(path))
    for folder in sorted(path for path in replays.glob("*") if path.is_dir()):
        if is_older(_changed_s(folder), days):
            yield Removable("replay", _shown(folder), n_bytes_below(folder), _worktree(folder))


def _removal(path: Path) -> Any:
    def remove() -> bool:
        path.unlink(missing_ok=True)
        return True

    return remove


def _worktree(folder: Path) -> Any:
    def remove() -> bool:
        remove_worktree(project_root(), folder)
        return not folder.exists()

    return remove


def _changed_s(folder: Path) -> float:
    """Return when something directly in a folder, or in its products, changed last, in seconds since 1970."""
    places = [folder, *folder.glob("*"), *folder.glob("products/*")]
    return max(place.lstat().st_mtime for place in places)


def _shown(path: Path) -> str:
    return str(path.relative_to(project_root()) if path.is_relative_to(project_root()) else path)
