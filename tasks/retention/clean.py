"""Removes what can be made again, and lists it: products and caches, never a store. Needs nothing but Python."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tasks.storage.locks import lock_or_holder

PRODUCTS = "products"
_CACHES = (".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", "build", "*.egg-info")
_STORE = ("mlflow.db", "optuna.db", "ledger.jsonl")  # whose folder is a store
_OTHERS = (".venv", ".uv", ".git", ".bentos", "mlflow")


def remakeable(root: Path) -> list[Path]:
    """Return the folders and files of a project that can go, the largest that hold no store."""
    found = list(_without_stores(root / PRODUCTS))
    found += [path for pattern in _CACHES for path in sorted(root.glob(pattern))]
    for folder, names, _ in os.walk(root):
        here = Path(folder)
        if here == root:
            names[:] = [name for name in names if name not in (*_OTHERS, PRODUCTS)]
        if "__pycache__" in names:
            names.remove("__pycache__")
            found.append(here / "__pycache__")
    return found


def clean(root: Path) -> list[Path]:
    """Remove them, and return what was removed; nothing if a run is at work on the products."""
    if not (root / PRODUCTS / "logs").is_dir():
        return _remove(root, remakeable(root))
    with lock_or_holder(root / PRODUCTS / "logs" / "run") as holder:
        if holder is not None:
            sys.exit(f"error: process {holder} is at work on {PRODUCTS}; wait until it ends")
        return _remove(root, remakeable(root))


def _remove(root: Path, found: list[Path]) -> list[Path]:
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if (root / ".git").exists():  # worktrees of replays were among the products
        subprocess.run(["git", "worktree", "prune"], cwd=root, check=False, capture_output=True)
    return found


def _without_stores(place: Path) -> Iterator[Path]:
    """Yield a place whole if there is no store at it or below, else the parts of it that are none."""
    if not place.exists() and not place.is_symlink():
        return
    if place.is_symlink() or place.is_file():
        yield place
    elif not any((place / name).exists() for name in _STORE):
        below = sorted(place.iterdir())
        parts = [part for path in below for part in _without_stores(path)]
        if parts == below:
            yield place
        else:
            yield from parts


if __name__ == "__main__":
    here = Path.cwd()
    for gone in clean(here):
        sys.stdout.write(f"removed {gone.relative_to(here)}\n")
