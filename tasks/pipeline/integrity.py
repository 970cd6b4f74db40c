"""Products that are no longer what their task wrote are noticed before they are used, and made again.

When a task ends, Ploomber's metadata beside each product also gets a record of its files: size, time, inode and
digest, an id of the task's products as a whole, and the ids of what they were made from. A product that is a
manifest stands for its whole folder. Before a build, every file that is to be used is compared with its record:
files are only read where size, time or inode differ, and what was read once is remembered.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import click

from tasks.pipeline.code_behind import found_behind
from tasks.storage.files import write_atomic

MANIFESTS = {"manifest.json", "model.json"}  # each describes all files of its folder
RECORD = "clicklab"  # our key in Ploomber's metadata
DIGESTS = ".digests.json"  # in the products: files that were read again, by path
_TOLD_FROM = 200_000_000  # bytes that take long enough to read to say so

Mark = list[int]  # size, time of the last change (ns), inode


def watch(dag: Any) -> None:
    """Ploomber ``on_render`` hook of the pipeline: let tasks run again whose products were changed since.

    Has records written from now on. For each task that would be skipped, compares its products with their
    record; if they differ, says which file, and takes the decision back for the task and for all that needs it.
    A forced run compares nothing.
    """
    from ploomber.constants import TaskStatus

    tasks = list(dag.values())  # each after those that it needs
    products = _common_folder(tasks)
    known = Digests(products / DIGESTS)
    again: set[str] = set()
    for task in tasks:
        for product in files_of(task):
            product.prepare_metadata = add_record
        if again & {one.name for one in task.upstream.values()}:
            again.add(task.name)
            _run_again(task)
        elif task.exec_status == TaskStatus.Skipped and (problem := problem_of(task, known)):
            again.add(task.name)
            click.echo(f"{problem}: {task.name} runs again, and what depends on it", err=True)
            for product in files_of(
                task
            ):  # in memory only, so that a look at the status changes nothing
                product.metadata.update_locally(
                    {"timestamp": None, "stored_source_code": None, "params": None}
                )
            _run_again(task)
        if task.exec_status != TaskStatus.Skipped:
            _make_way(task, products)
    known.keep()


def add_record(metadata: dict[str, Any], product: Any) -> dict[str, Any]:
    """Ploomber ``prepare_metadata`` hook of a product: add the record of its files."""
    task = product.task
    found = {str(one): _fingerprints(Path(one)) for one in files_of(task)}
    inputs = {one.name: _id_of(one) for one in task.upstream.values()}
    digests = [
        sorted((name, digest) for name, (_, digest) in files.items()) for files in found.values()
    ]
    content = json.dumps([digests, inputs], sort_keys=True).encode()
    metadata[RECORD] = {
        "id": hashlib.sha256(content).hexdigest()[:16],
        "inputs": inputs,
        "files": {name: [*mark, digest] for name, (mark, digest) in found[str(product)].items()},
        "code": found_behind(str(dict(task.params).get("code", ""))),
    }
    return metadata


def forget_unreadable(products: str | Path) -> None:
    """Remove metadata of Ploomber that cannot be read, so that its task runs again instead of the load failing."""
    for path in Path(products).rglob(".*.metadata"):
        try:
            json.loads(path.read_bytes())
        except ValueError:
            path.unlink(missing_ok=True)


def files_of(task: Any) -> list[Any]:
    """Return a task's products that are files."""
    product = task.product
    several = list(product.products) if hasattr(product, "products") else [product]
    return [one for one in several if hasattr(one, "_path_to_metadata")]


def _common_folder(tasks: list[Any]) -> Path:
    folders = [Path(one).resolve().parent for task in tasks for one in files_of(task)]
    return Path(os.path.commonpath(folders)) if folders else Path()


def _run_again(task: Any) -> None:
    from ploomber.constants import TaskStatus

    ready = all(one.exec_status == TaskStatus.Skipped for one in task.upstream.values())
    for product in files_of(task):
        product._reset_cached_outdated_status()
    # the public setter would already start to update tasks downstream
    task._exec_status = TaskStatus.WaitingExecution if ready else TaskStatus.WaitingUpstream


# ---- what is recorded


def _fingerprints(product: Path) -> dict[str, tuple[Mark, str]]:
    """Return mark and digest of each file that a product stands for, by its name below the product's folder."""
    found = {}
    for path in sorted(stands_for(product)):
        mark = _mark(path)  # before reading, so that a change meanwhile is noticed
        found[path.relative_to(product.parent).as_posix()] = (mark, _digest(path, *mark))
    return found


def stands_for(product: Path) -> Iterator[Path]:
    folder = product.parent if product.name in MANIFESTS else product
    if not folder.is_dir():
        yield product
        return
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and not path.name.endswith(".partial"):
            yield path


def _mark(path: Path) -> Mark:
    found = path.stat()
    return [found.st_size, found.st_ctime_ns, found.st_ino]


@cache
def _digest(path: Path, size: int, changed_ns: int, inode: int) -> str:
    """Return a digest of a file as it is at that mark, so that a task with several products reads it once."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def record_of(product: Any) -> dict[str, Any] | None:
    try:
        found = json.loads(product._path_to_metadata.read_bytes())[RECORD]
        return found if {"id", "inputs", "files"} <= set(found) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _id_of(task: Any) -> str | None:
    records = [record_of(product) for product in files_of(task)]
    return records[0]["id"] if records and records[0] else None


# ---- what is compared


class Digests:
    """Digests of files whose mark is not the recorded one: of a copied project, or after a touch."""

    def __init__(self, path: Path):
        self.path = path
        self._changed = False
        self._known: dict[str, list[Any]] = {}
        with suppress(OSError, ValueError, AttributeError):
            self._known = dict(json.loads(path.read_bytes()).items())

    def of(self, path: Path, mark: Mark) -> str:
        """Return the digest of a file, read only if it was not read at this mark before."""
        known = self._known.get(str(path))
        if known is None or known[:3] != mark:
            known = self._known[str(path)] = [*mark, _digest(path, *mark)]
            self._changed = True
        return str(known[3])

    def keep(self) -> None:
        """Write down what was read; a folder that cannot be written is read again next time."""
        if self._changed:
            with suppress(OSError):
                here = {path: known for path, known in self._known.items() if Path(path).exists()}
                write_atomic(self.path, json.dumps(here))


def problem_of(task: Any, known: Digests) -> str:
    """Return what is wrong with a task's products, or nothing."""
    records = {str(product): record_of(product) for product in files_of(task)}
    for name, record in records.items():
        if record is None:
            return f"{_shown(name)} has no record of how it was written"
    ids = {name: record["id"] for name, record in records.items() if record}
    if len(set(ids.values())) > 1:
        return f"{_shown(_odd_one(ids))} is of another run than what {task.name} wrote with it"
    for name, record in records.items():
        for one in task.upstream.values():
            if record and record["inputs"].get(one.name) != _id_of(one):
                return f"{_shown(name)} was made from another {one.name}"
    changed = [
        line
        for name, record in records.items()
        if record
        for line in _changed(Path(name).parent, record["files"], known)
    ]
    more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
    return f"{changed[0]}{more}" if changed else ""


def _odd_one(ids: Mapping[str, str]) -> str:
    """Return a product with the rarest id."""
    values = list(ids.values())
    return min(ids, key=lambda name: values.count(ids[name]))


def _changed(folder: Path, files: Mapping[str, list[Any]], known: Digests) -> Iterator[str]:
    """Yield a line for each file that is not what was recorded."""
    marks = {name: _mark_or_problem(folder / name) for name in files}
    to_read = {
        name: mark
        for name, mark in marks.items()
        if not isinstance(mark, str) and mark != files[name][:3] and mark[0] == files[name][0]
    }
    if sum(mark[0] for mark in to_read.values()) > _TOLD_FROM:
        click.echo(f"Reading {_shown(folder)} once, because it was copied or touched ...", err=True)
    for name, mark in marks.items():
        path = folder / name
        if isinstance(mark, str):
            yield f"{_shown(path)} {mark}"
        elif mark[0] != files[name][0]:
            yield f"{_shown(path)} has {mark[0]:,} bytes, {files[name][0]:,} were written"
        elif name in to_read and known.of(path, mark) != files[name][3]:
            yield f"{_shown(path)} was changed"


def _mark_or_problem(path: Path) -> Mark | str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return "is no file"
        return _mark(path)
    except (FileNotFoundError, NotADirectoryError):
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _shown(path: str | Path) -> str:
    place, here = Path(path).resolve(), Path.cwd()
    return str(place.relative_to(here) if place.is_relative_to(here) else place)


# ---- what stands in the way


def _make_way(task: Any, products: Path) -> None:
    """Rename a folder that has taken the place of a file, or a file that of a folder, so that the task can write.

    Nothing outside the folder of products is touched.
    """
    for product in files_of(task):
        record = record_of(product)
        path = Path(product)
        for name in record["files"] if record else ():
            if (path.parent / name).is_dir():
                _set_aside(path.parent / name)
        for folder in path.resolve().parents:
            if products in folder.parents and folder.is_file():
                _set_aside(folder)


def _set_aside(path: Path) -> None:
    number = 1
    while (aside := path.with_name(f"{path.name}.aside-{number}")).exists():
        number += 1
    path.rename(aside)
    click.echo(f"{_shown(path)} was in the way and is now {aside.name}", err=True)
