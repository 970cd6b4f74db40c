"""A run's products between a folder and the bucket, task by task.

Below ``<store>/<run>/``:

- ``products/``: the products folder as it is on a disk, Ploomber's metadata included;
- ``tasks/<task>.json``: which of those files a finished task made; written last, so a task without it is
  not finished, whatever other files exist;
- ``started/<task>.json``, ``failures/<task>.json``, ``failures/<task>/``: how its last attempt began, why it
  failed, and what it left;
- ``summary.txt``: the run in one line, for the notice.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from infra.container.bucket import Store, in_parallel
from tasks.errors import ConfigError, InputError

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
_RESUMABLE = ("part-*.arrow", "plan.json", "*.checkpoint.*")
_CHECKPOINT = "*.checkpoint.*"
_LIVE = (
    *_RESUMABLE[:2],
    "*.checkpoint*.npz",
)  # written atomically, so never uploaded partially


@dataclass(frozen=True)
class Owned:
    """A task's files, relative to the products folder: those it declares, and its own folders."""

    name: str
    files: tuple[str, ...]
    folders: tuple[str, ...]


def metadata_of(file: str) -> str:
    """Return the path of Ploomber's metadata of a product.

    Examples
    --------
    >>> metadata_of("log/manifest.json")
    'log/.manifest.json.metadata'
    """
    path = Path(file)
    return path.with_name(f".{path.name}.metadata").as_posix()


@dataclass
class RunProducts:
    """The products of one run, on this disk and in the bucket.

    Parameters
    ----------
    store, run
        Where all runs are, and which one this is.
    folder
        The products folder on this disk.
    """

    store: Store
    run: str
    folder: Path
    _known: dict[str, tuple[int, int]] = field(
        default_factory=dict
    )  # files that are the same in the bucket

    def __post_init__(self) -> None:
        if not _RUN.fullmatch(self.run):
            raise ConfigError(
                f"a run's id is letters, digits, _ and -, 80 maximum; found {self.run!r}"
            )

    def record(self, task: str) -> dict[str, Any] | None:
        """Return the record of a finished task, None if it is not finished."""
        return self.store.get_json(f"{self.run}/tasks/{task}.json")

    def finished(self) -> list[str]:
        """Return the tasks of this run that are finished."""
        prefix = f"{self.run}/tasks/"
        return [key.removeprefix(prefix).removesuffix(".json") for key in self.store.sizes(prefix)]

    def fetch(self, task: str, *, only: Iterable[str] | None = None) -> bool:
        """Download a finished task's files, all or those named; False if it is not finished.

        Raises
        ------
        InputError
            If a file that it made no longer exists.
        """
        record = self.record(task)
        if record is None:
            return False
        wanted = set(record["files"]) if only is None else set(only) & set(record["files"])
        jobs = [(task, name) for name in sorted(wanted) if not self._is_here(name, record["files"])]
        in_parallel(self._fetch_one, jobs)
        return True

    def _is_here(self, name: str, sizes: Mapping[str, int]) -> bool:
        mark = _mark(self.folder / name)
        return mark is not None and self._known.get(name) == mark and mark[0] == sizes[name]

    def _fetch_one(self, task: str, name: str) -> None:
        path = self.folder / name
        if not self.store.download(f"{self.run}/products/{name}", path):
            raise InputError(
                f"{self.store.address}/{self.run}/products/{name} is gone; run {task} of this run again"
            )
        self._remember(name)

    def _remember(self, name: str) -> None:
        mark = _mark(self.folder / name)
        if mark is not None:
            self._known[name] = mark

    def fetch_unfinished(self, owned: Owned) -> int:
        """Download what an unfinished attempt left for the next one; return the number of files."""
        found: dict[str, int] = {}
        prefix = f"{self.run}/products/"
        for folder in owned.folders:
            found |= self.store.sizes(f"{prefix}{folder}/")
        for stem in _stems(owned):
            found |= self.store.sizes(f"{prefix}{stem}.")
        names = [key.removeprefix(prefix) for key in found]
        names = [name for name in names if _matches(name, _RESUMABLE)]
        in_parallel(self._fetch_one, [(owned.name, name) for name in names])
        return len(names)

    def has_changed(self, owned: Owned) -> bool:
        """Return whether the task was built on this machine since its files were fetched."""
        return any(
            _mark(self.folder / name) != self._known.get(name)
            for name in map(metadata_of, owned.files)
        )

    def push_unfinished(self, owned: Owned, *, live: bool = False) -> int:
        """Upload what another attempt can resume from; `live` while files are still being written."""
        patterns = _LIVE if live else _RESUMABLE
        names = [name for name in self._of(owned) if _matches(name, patterns)]
        return self._push(names)

    def push(self, owned: Owned, facts: Mapping[str, Any]) -> int:
        """Upload a finished task's files, metadata after the rest and the record last."""
        names = [name for name in self._of(owned) if not _matches(name, (_CHECKPOINT,))]
        metadata = {metadata_of(name) for name in owned.files}
        sent = self._push(name for name in names if name not in metadata)
        sent += self._push(name for name in names if name in metadata)
        sizes = {name: (self.folder / name).stat().st_size for name in names}
        record = {"task": owned.name, **facts, "finished_utc": now(), "files": sizes}
        self.store.put_json(f"{self.run}/tasks/{owned.name}.json", record)
        stale = [
            self.store.sizes(f"{self.run}/products/{stem}.checkpoint.") for stem in _stems(owned)
        ]
        self.store.delete(key for found in stale for key in found)
        return sent

    def _push(self, names: Iterable[str]) -> int:
        jobs = [(name,) for name in names if self._known.get(name) != _mark(self.folder / name)]
        return sum(in_parallel(self._push_one, jobs))

    def _push_one(self, name: str) -> int:
        mark = _mark(self.folder / name)
        if mark is None:
            return 0  # replaced or removed since it was listed
        self.store.upload(self.folder / name, f"{self.run}/products/{name}")
        self._known[name] = mark
        return 1

    def _of(self, owned: Owned) -> list[str]:
        """Return the task's files on this disk: declared ones, those in its folders, checkpoints."""
        found = [name for file in owned.files for name in (file, metadata_of(file))]
        for folder in owned.folders:
            found += [
                path.relative_to(self.folder).as_posix()
                for path in (self.folder / folder).rglob("*")
            ]
        for stem in _stems(owned):
            found += [path.name for path in self.folder.glob(f"{stem}.checkpoint.*")]
        return [
            name
            for name in dict.fromkeys(found)
            if (self.folder / name).is_file() and not _is_temporary(name)
        ]


def _stems(owned: Owned) -> list[str]:
    """Return the stems of files at the top of the products folder, which checkpoints share."""
    return list(dict.fromkeys(Path(name).stem for name in owned.files if "/" not in name))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(Path(name).name, pattern) for pattern in patterns)


def _is_temporary(name: str) -> bool:
    last = Path(name).name
    return last.endswith(".partial") or (last.startswith(".") and not last.endswith(".metadata"))


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_size, stat.st_mtime_ns


def now() -> str:
    """Return the time as text."""
    return datetime.now(UTC).isoformat(timespec="seconds")
