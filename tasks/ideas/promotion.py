"""A notebook promoted: checked, tried in a copy of the project, then written; and taken out again."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import ClicklabError, ConfigError, InputError
from tasks.ideas.code_files import write_feature, write_model
from tasks.ideas.edits import Changes
from tasks.ideas.faults import faults, step_faults
from tasks.ideas.kernel_run import DEFAULT, Limits
from tasks.ideas.notebook import FEATURE, MODEL, STEP, Fault, Notebook, read_notebook
from tasks.ideas.project_copy import TINY, environment, linked, project_copy
from tasks.ideas.records import RECORDS, add_record, take_out
from tasks.ideas.step import plan
from tasks.ideas.step_files import write_step
from tasks.knobs.reading import read_env
from tasks.storage.workspace import project_root, resolve

_PARTS = 6  # of a trial that each may take MINUTES: runs of the notebook, its test, the log, the pipeline
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Faulty(InputError):
    """A notebook with faults; ``faults`` holds one line each."""

    def __init__(self, path: Path, lines: list[str]):
        self.faults = [f"{path}: {line}" for line in lines]
        n_found = "1 fault" if len(lines) == 1 else f"{len(lines)} faults"
        super().__init__(f"{path}: {n_found}; nothing was changed")


@dataclass(frozen=True)
class Promoted:
    """What was promoted or taken out: its kind and name, the changes as a diff, and what was left, as it was changed."""

    kind: str
    name: str
    diff: str
    left: tuple[str, ...] = ()


def promote(
    path: str | Path,
    *,
    name: str = "",
    after: str = "",
    limits: Limits = DEFAULT,
    tell: Callable[[str], None] = lambda line: None,
) -> Promoted:
    """Make a notebook's idea part of the project; after an error nothing has changed.

    Parameters
    ----------
    path
        The notebook.
    name
        What it is called from now on; by default as the notebook, the function or the class.
    after
        For a step, a task that runs before it.
    limits
        What a run of the notebook may take.
    tell
        Called with a line before each part that takes time.

    Raises
    ------
    Faulty
        If the notebook has faults, found by reading it or by running it.
    ClicklabError
        If it cannot be read, or the name cannot be used.
    """
    root = project_root()
    notebook = read_notebook(path)
    changes = Changes(root)
    kind, name, found = _prepare(changes, notebook, name, after)
    if found:
        raise Faulty(notebook.path, [str(fault) for fault in found])
    place = resolve(notebook.path).resolve()
    inside = place.relative_to(root) if place.is_relative_to(root) else notebook.path
    add_record(changes, name, kind, inside.as_posix())
    tell(f"{name}: reads well; trying it on {TINY} in a copy of the project ...")
    if lines := _try(changes, kind, name, notebook, limits):
        raise Faulty(notebook.path, lines)
    diff = changes.diff(without=RECORDS)
    changes.write()
    return Promoted(kind, name, diff)


def _prepare(
    changes: Changes, notebook: Notebook, name: str, after: str
) -> tuple[str, str, list[Fault]]:
    """Prepare the changes; return kind, name and the faults that reading finds."""
    env = read_env(changes.root / "env.yaml")
    kind = _kind(notebook)
    found = list(faults(notebook))
    if kind == STEP:
        name = name or notebook.path.stem
        _check_name(name)
        step, more = plan(notebook, name, env, after)
        found += [*step_faults(notebook, str(env["products"])), *more]
        if not found:
            found = write_step(changes, notebook, step, env)
    else:
        if after:
            raise ConfigError(f"AFTER= is for steps; {notebook.path} holds a {kind}")
        _check_name(name or kind)
        name, more = _WRITERS[kind](changes, notebook, name, env)
        found += more
    return kind, name, sorted(found, key=lambda fault: (fault.cell, fault.line))


_WRITERS = {FEATURE: write_feature, MODEL: write_model}


def _kind(notebook: Notebook) -> str:
    """Return what a notebook becomes, by the tags of its cells."""
    kinds = [kind for kind in (FEATURE, MODEL) if notebook.tagged(kind)]
    if len(kinds) > 1:
        raise InputError(
            f"{notebook.path}: has cells tagged `feature` and cells tagged `model`; promote them from two notebooks"
        )
    return kinds[0] if kinds else STEP


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no name here; choose small letters, digits and _ with AS=")


def _try(changes: Changes, kind: str, name: str, notebook: Notebook, limits: Limits) -> list[str]:
    """Write the changes to a copy of the project, run there what they mean, and return what is wrong, in lines."""
    with project_copy(changes.root, with_tiny=kind == STEP) as copy:
        changes.write(copy)
        job, log = copy.parent / "job.json", copy.parent / "log"
        said = {
            "kind": kind,
            "name": name,
            "notebook": str(
                resolve(notebook.path)
            ),  # git may ignore it, so the copy may not hold it
            "tests": [path for path in changes.created if path.startswith("tests/")],
            "minutes": limits.minutes,
        }
        before = linked(copy)
        job.write_text(json.dumps(said | {"memory_gb": limits.memory_gb}))
        command = [sys.executable, "-W", "ignore", "-m", "tasks.ideas.trial_process", str(job)]
        minutes = _PARTS * max(limits.minutes, DEFAULT.minutes)
        has_ended = _ends(command, copy, log, seconds=60 * minutes)
        if touched := _touched(before):
            raise ClicklabError(
                f"{touched} of the project changed while {name} was tried; write to products/scratch instead if the "
                "notebook did that, and `make run` to make what is damaged again; nothing was promoted"
            )
        if not has_ended:
            return [f"its trial has not ended after {minutes:g} minutes, {_PARTS} times MINUTES="]
        answer = job.with_suffix(".found")
        if not answer.is_file():
            last = (log.read_text(errors="replace").strip().splitlines() or ["no message"])[-1]
            raise ClicklabError(f"{name} could not be tried ({last[:300]}); nothing was changed")
        return [str(line) for line in json.loads(answer.read_text())]


def _ends(command: list[str], copy: Path, log: Path, *, seconds: float) -> bool:
    """Run a command in a copy of the project, and return whether it ended in time; nothing of it is left running."""
    with log.open("w") as file:
        process = subprocess.Popen(
            command,
            cwd=copy,
            env=environment(copy),
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and what it may have left
        process.wait()
    return True


def _touched(before: dict[str, tuple[int, int]]) -> str:
    """Return the first of the files that is not as it was, or nothing."""
    for path, known in before.items():
        now = Path(path).stat() if Path(path).exists() else None
        if known != ((now.st_size, now.st_mtime_ns) if now else (0, 0)):
            return path
    return ""


def demote(name: str, *, force: bool = False) -> Promoted:
    """Take out what a promotion wrote.

    Raises
    ------
    InputError
        If it was not promoted, was changed by hand since (unless `force`), or something needs it.
    """
    changes = Changes(project_root())
    kind, left = take_out(changes, name, force=force)
    if kind == STEP:
        _refuse_needed(name)
    diff = changes.diff(without=RECORDS)
    changes.write()
    return Promoted(kind, name, diff, tuple(left))


def _refuse_needed(name: str) -> None:
    from tasks.knobs.model_tasks import read_tasks

    needing = [
        task for task, entry in read_tasks().items() if name in (entry.get("upstream") or [])
    ]
    if needing:
        raise InputError(
            f"{', '.join(needing)} needs {name} (`upstream` in pipeline.yaml); demote or change that first"
        )
