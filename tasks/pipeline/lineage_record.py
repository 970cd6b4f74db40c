"""What a training was made of, kept with its run: each task up to it with its parameters, notebook and files."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.pipeline.code_behind import found_behind
from tasks.pipeline.integrity import files_of, record_of
from tasks.storage.workspace import project_root

NAME = "lineage.json"  # of a run's artifacts
LOCK = "requirements.lock"


def lineage_record(task: Any) -> dict[str, Any]:
    """Return the record of a rendered task of the pipeline, ready for JSON.

    Returns
    -------
    dict
        ``task``, its name; ``tasks``, by name and each after those that it needs: ``source``, the digest of its code
        (``source_digest``), ``params``, the digest of the files behind it (``code``) and the id of its products;
        ``files``, the digest of each of those files; ``lock``, that of the installed packages' pins, None if there
        is no such file.
    """
    tasks: dict[str, Any] = {}
    files: dict[str, str] = {}
    for one in _up_to(task, set()):
        params = json.loads(json.dumps(one.params.to_json_serializable(params_only=True)))
        code = params.pop("code", "")
        files |= found_behind(str(code)) or {}
        records = [record_of(product) for product in files_of(one)]
        tasks[one.name] = {
            "source": _place(one),
            "source_digest": text_digest(str(one.source)),
            "params": params,
            "code": code,
            "products": next((record["id"] for record in records if record), None),
        }
    lock = project_root() / LOCK
    return {
        "task": task.name,
        "tasks": tasks,
        "files": dict(sorted(files.items())),
        "lock": text_digest(lock.read_text()) if lock.is_file() else None,
    }


def text_digest(text: str) -> str:
    """Return 16 hex digits of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _up_to(task: Any, seen: set[str]) -> Iterator[Any]:
    """Yield all tasks that a task needs, each after its own, and the task itself last."""
    for one in task.upstream.values():
        if one.name not in seen:
            yield from _up_to(one, seen)
    seen.add(task.name)
    yield task


def _place(task: Any) -> str:
    """Return the file that holds a task's code, relative to the project."""
    path = Path(str(task.source.loc or "").split(":")[0])  # a function's has its line
    root = project_root()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
