"""Why tasks are out of date: files, parameters, data, damaged products, or a task before them.

Ploomber's metadata beside each product holds what its task was given and, since :mod:`tasks.pipeline.integrity` adds
it, the digest of every file behind the task. Both are compared with what the task would be given now.
"""

import contextlib
import difflib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError
from tasks.knobs.model_tasks import read_tasks
from tasks.pipeline.build import load_dag
from tasks.pipeline.code_behind import found_behind, import_chain
from tasks.pipeline.data_changes import data_change
from tasks.pipeline.integrity import DIGESTS, RECORD, Digests, files_of, problem_of
from tasks.pipeline.preflight import check_project

_SHOWN_FILES = 5
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class TaskState:
    """Whether a task would run, and why.

    Attributes
    ----------
    name
        The task.
    reasons
        One line each; empty if it would not run.
    made_utc
        When its products were made, None if they were not.
    """

    name: str
    reasons: tuple[str, ...]
    made_utc: datetime | None


def states(env: Mapping[str, Any], *, only: str | None = None) -> list[TaskState]:
    """Return the state of each task of the pipeline in its order, or of one; nothing is run or changed.

    Parameters
    ----------
    env
        Knobs as :func:`tasks.knobs.reading.read_env` returns them.
    only
        One task.

    Raises
    ------
    ConfigError
        If there is no such task, or the pipeline cannot be loaded.
    """
    check_project(env)
    sources = {name: _code_source(task) for name, task in read_tasks().items()}
    if only is not None and only not in sources:
        near = difflib.get_close_matches(only, sources, 1)
        known = f"did you mean {near[0]}?" if near else f"there are {', '.join(sources)}"
        raise ConfigError(f"pipeline.yaml has no task {only!r}; {known}")
    with contextlib.redirect_stderr(io.StringIO()):  # what the hooks say is said below, by task
        tasks = list(load_dag(dict(env)).render(show_progress=False).values())
    known_digests = Digests(Path(env["products"]).resolve() / DIGESTS)
    found: dict[str, TaskState] = {}
    for task in tasks:
        would_run = task.exec_status.name != "Skipped"
        again = [one.name for one in task.upstream.values() if found[one.name].reasons]
        reasons = tuple(_reasons(task, sources[task.name], known_digests, again))
        if would_run and not reasons:
            reasons = ("a task before it was made later",)
        found[task.name] = TaskState(task.name, reasons if would_run else (), _made(task))
    return [one for one in found.values() if only in (None, one.name)]


def _code_source(task: Mapping[str, Any]) -> str:
    code = (task.get("params") or {}).get("code")
    return str(code.get("source", "")) if isinstance(code, Mapping) else ""


def _reasons(task: Any, source: str, known: Digests, again: list[str]) -> Iterator[str]:
    """Yield each thing that differs from when a task's products were made."""
    stored = _metadata(task)
    if not stored:
        yield "it has not run yet"
    else:
        given = json.loads(json.dumps(task.params.to_json_serializable(params_only=True)))
        before = stored.get("params") or {}
        files = list(_file_reasons(stored, before.get("code"), given.get("code"), source))
        yield from files
        if not files or source.endswith(".ipynb"):
            yield from _source_reasons(str(stored.get("stored_source_code")), task)
        yield from _param_reasons(_without_code(before), _without_code(given))
        if "data" in given and (changed := data_change(task.product, given)):
            yield changed
        if problem := problem_of(task, known):
            yield problem
    yield from (f"{name} runs again" for name in again)


def _metadata(task: Any) -> dict[str, Any]:
    """Return what was stored beside the first product that is there; it is the same beside each."""
    for product in files_of(task):
        try:
            return dict(json.loads(product._path_to_metadata.read_bytes()))
        except (OSError, ValueError):
            continue
    return {}


def _made(task: Any) -> datetime | None:
    timestamp = _metadata(task).get("timestamp")
    return datetime.fromtimestamp(timestamp, UTC) if timestamp else None


def _file_reasons(stored: Mapping[str, Any], before: Any, now: Any, source: str) -> Iterator[str]:
    """Yield each file behind a task that was changed, added or left, with the imports that lead to it."""
    if before == now:
        return
    recorded = (stored.get(RECORD) or {}).get("code")
    current = found_behind(str(now)) or {}
    if not recorded:
        yield "the files behind it changed; which ones was not recorded when it ran"
        return
    names = sorted(
        name for name in {**recorded, **current} if recorded.get(name) != current.get(name)
    )
    for name in names[:_SHOWN_FILES]:
        if name not in current:
            yield f"{name} is no longer behind it"
            continue
        chain = import_chain(source, name)
        way = f" ({' > '.join(chain)})" if len(chain) > 1 else ""
        way = way or ("" if chain else " (named in pipeline.yaml, in env.yaml or in the schema)")
        yield f"{name} {'changed' if name in recorded else 'is new behind it'}{way}"
    if len(names) > _SHOWN_FILES:
        yield f"{len(names) - _SHOWN_FILES} more files behind it changed"


def _source_reasons(before: str, task: Any) -> Iterator[str]:
    """Yield where a notebook or function differs from the one that ran."""
    now, place = str(task.source), Path(str(task.source.loc or task.name)).name
    if before == now:
        return
    lines = difflib.unified_diff(before.splitlines(), now.splitlines(), lineterm="", n=0)
    changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    shown = "; ".join(_short(line) for line in changed[:2])
    more = f" (and {len(changed) - 2} more lines)" if len(changed) > 2 else ""
    yield f"{place} changed: {shown}{more}"


def _param_reasons(
    before: Mapping[str, Any], now: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[str]:
    """Yield each parameter that has another value, before and after."""
    for key in dict.fromkeys((*before, *now)):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _param_reasons(old, new, (*path, key))
        elif key not in before:
            yield f"parameter {'.'.join((*path, key))} is new: {_short(new)}"
        elif key not in now:
            yield f"parameter {'.'.join((*path, key))} is gone, was {_short(old)}"
        elif old != new:
            yield f"parameter {'.'.join((*path, key))}: {_short(old)} -> {_short(new)}"


def _without_code(params: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in params.items() if key != "code"}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    cut = _SHOWN_CHARACTERS
    return text if len(text) <= cut else f"{text[: cut - 3]}..."
