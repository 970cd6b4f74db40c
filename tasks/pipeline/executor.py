"""How Ploomber runs the tasks here: side by side in processes, one line of progress a task.

Ploomber's own parallel executor asks for the next task in a loop without a pause, which keeps one
core busy for the whole build; on two cores that is half the machine. This one sleeps until a task
ends. It also turns a failure into one readable line, and keeps the traceback for defects only.
"""

import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TextIO

import click
from ploomber.constants import TaskStatus
from ploomber.exceptions import DAGBuildError
from ploomber.executors.abc import Executor

import tasks.errors

# what POSIX and SQLite say of a full disk
_FULL = ("No space left on device", "Disk quota exceeded", "database or disk is full")


@dataclass(frozen=True)
class Failure:
    """Why a task ended badly: one line, the exit code, and the traceback where it is a defect."""

    task: str
    line: str
    exit_code: int
    detail: str = ""


class TasksFailed(DAGBuildError):
    """Some tasks failed; ``failures`` holds one entry each."""

    def __init__(self, failures: list[Failure]):
        self.failures = failures
        parts = [
            f"{failure.task}: {failure.line}" + (f"\n{failure.detail}" if failure.detail else "")
            for failure in failures
        ]
        super().__init__("\n".join(parts))


class ProcessPool(Executor):
    """Run each task in a process of its own, as many at once as there are cores.

    Parameters
    ----------
    logs
        Folder for what tasks print, one ``<task>.log`` each.
    processes
        Tasks at once; None means one a core.
    """

    def __init__(self, logs: str | Path, processes: int | None = None):
        self.logs = Path(logs).resolve()
        self.processes = processes or os.cpu_count() or 1

    def __call__(self, dag: Any, show_progress: bool) -> list[Any]:
        """Build every outdated task of `dag`; TasksFailed when any failed."""
        super().__call__(dag)
        logging.getLogger("ploomber").setLevel(logging.CRITICAL)  # it would show each failure twice
        running: dict[Future, tuple[Any, float]] = {}
        reports: list[Any] = []
        failures: list[Failure] = []
        started: set[str] = set()
        with ProcessPoolExecutor(
            self.processes, mp_context=get_context("fork"), max_tasks_per_child=None
        ) as pool:
            while True:
                for task in _ready(dag, started)[: self.processes - len(running)]:
                    started.add(task.name)
                    click.echo(f"· {task.name}", err=True)
                    running[pool.submit(_build, task, self.logs / f"{task.name}.log")] = (
                        task,
                        time.monotonic(),
                    )
                if not running:
                    break
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    task, since = running.pop(future)
                    outcome = _outcome(future, task)
                    if isinstance(outcome, Failure):
                        task.exec_status = TaskStatus.Errored
                        failures.append(outcome)
                        _tell("✗", task.name, since)
                        continue
                    report, metadata = outcome
                    task.product.metadata.update_locally(metadata)
                    task.exec_status = TaskStatus.Executed
                    reports.append(report)
                    _tell("✓", task.name, since)
        if failures:
            raise TasksFailed(failures)
        return reports


def _tell(mark: str, name: str, since: float) -> None:
    click.echo(f"{mark} {name:<18} {time.monotonic() - since:6.1f} s", err=True)


def _ready(dag: Any, started: set[str]) -> list[Any]:
    waiting = {TaskStatus.WaitingExecution, TaskStatus.WaitingDownload}
    return [
        task for task in dag.values() if task.exec_status in waiting and task.name not in started
    ]


def _build(task: Any, log_path: Path) -> Any:
    """Run in the worker: build one task, with whatever it and its kernel print kept in its log."""
    with _printing_to(log_path):
        try:
            return task._build(catch_exceptions=True)
        except Exception as error:
            with suppress(OSError):  # the log's own disk may be the one that is full
                traceback.print_exc()
            return describe_failure(task.name, error)


@contextmanager
def _printing_to(path: Path) -> Iterator[None]:
    """Send this process's and its children's output to a file; what has no room there is lost."""
    _flush()
    kept = os.dup(1), os.dup(2)
    try:
        with _opened(path) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield
            _flush()
    finally:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
            _flush()
        for number, original in zip((1, 2), kept, strict=True):
            os.dup2(original, number)
            os.close(original)


def _opened(path: Path) -> TextIO:
    try:
        with tasks.errors.disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("w")
    except tasks.errors.DiskFullError:
        return Path(os.devnull).open("w")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()


_KILLED = "was killed (out of memory, perhaps); run the same command again to go on from here"


def _outcome(future: Future, task: Any) -> Any:
    try:
        return future.result()
    except BrokenProcessPool:
        return Failure(task.name, f"its process {_KILLED}", exit_code=137)


def describe_failure(task: str, error: BaseException) -> Failure:
    """Return the failure in one line if a user can mend it, else with the traceback.

    Looks through the chain of causes for an error of :mod:`tasks.errors`, raised in this process or
    (by name) in the kernel of a notebook.
    """
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(type(link).__name__ == "DeadKernelError" for link in chain):
        return Failure(task, f"its kernel {_KILLED}", exit_code=137)
    for link in chain:
        if (full := _full_disk(link)) is not None:
            return Failure(task, full, tasks.errors.DiskFullError.exit_code)
        kind = type(link) if isinstance(link, tasks.errors.ClicklabError) else None
        name = getattr(link, "ename", None)
        if kind is None and name is not None:
            kind = getattr(tasks.errors, name, None)
        if kind is not None:
            return Failure(task, str(getattr(link, "evalue", None) or link), kind.exit_code)
    root = chain[-1]
    name = getattr(root, "ename", None)
    detail = str(root) if name else "".join(traceback.format_exception(error))
    text = f"{getattr(root, 'evalue', '')}" if name else str(root)
    first = (text.splitlines() or [""])[0]
    return Failure(task, f"{name or type(root).__name__}: {first}", exit_code=1, detail=detail)


def _full_disk(error: BaseException) -> str | None:
    """Return the line for what a full disk made Ploomber, papermill or MLflow raise."""
    is_ours = isinstance(error, tasks.errors.ClicklabError) or hasattr(
        tasks.errors, getattr(error, "ename", "")
    )
    text = str(getattr(error, "evalue", None) or error)
    if is_ours or not any(words in text for words in _FULL):
        return None
    place = getattr(error, "filename", None)
    line = "no space left on the disk; make room and run the same command again"
    return f"{place}: {line}" if place else line
