"""How Ploomber runs the tasks here: side by side in processes, each with its line on the terminal.

Ploomber's own parallel executor asks for the next task in a loop without a pause, which keeps one
core busy for the whole build; on two cores that is half the machine. This one sleeps until a task
ends. It also turns a failure into one readable line, and keeps the traceback for defects only.
"""

import hashlib
import logging
import os
import shutil
import signal
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ploomber.constants import TaskStatus
from ploomber.exceptions import DAGBuildError
from ploomber.executors.abc import Executor

import tasks.errors
from tasks.pipeline.forked_kernel import preload
from tasks.pipeline.task_lines import TaskLines
from tasks.pipeline.task_process import TaskProcess, end, print_traceback, wait_for_any
from tasks.storage.locks import lock_or_holder
from tasks.storage.workspace import MARKER

# what POSIX and SQLite say of a full disk
_FULL = ("No space left on device", "Disk quota exceeded", "database or disk is full")
TIMED_OUT = 124  # the exit code of timeout(1)


@dataclass(frozen=True)
class Failure:
    """Why a task ended badly: one line, the exit code, its log, and the traceback where it is a defect."""

    task: str
    line: str
    exit_code: int
    detail: str = ""
    log: str = ""
    cell: int | None = None  # of a notebook, as In [n] numbers it

    def __str__(self) -> str:
        place = f" (log: {self.log})" if self.log else ""
        return f"{self.task}: {self.line}{place}"


class TasksFailed(DAGBuildError):
    """Some tasks failed; ``failures`` holds one entry each."""

    def __init__(self, failures: list[Failure]):
        self.failures = failures
        parts = [
            str(failure) + (f"\n{failure.detail}" if failure.detail else "") for failure in failures
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
    time_limit_minutes
        A task that takes longer is ended.
    """

    def __init__(
        self, logs: str | Path, processes: int | None = None, time_limit_minutes: float = 240
    ):
        self.logs = Path(logs).resolve()
        self.processes = processes or os.cpu_count() or 1
        self.time_limit_minutes = time_limit_minutes

    def __call__(self, dag: Any, show_progress: bool) -> list[Any]:
        """Build every outdated task of `dag`; TasksFailed when any failed. Nothing is left running."""
        super().__call__(dag)
        logging.getLogger("ploomber").setLevel(logging.CRITICAL)  # it would show each failure twice
        running: list[TaskProcess] = []
        reports: list[Any] = []
        failures: list[Failure] = []
        started: set[str] = set()
        with _alone(self.logs), _scratch(self.logs) as folder, TaskLines() as lines:
            try:
                while True:
                    for task in _ready(dag, started)[: self.processes - len(running)]:
                        started.add(task.name)
                        lines.started(task.name)
                        log, place = self.logs / f"{task.name}.log", folder / f"{len(started)}"
                        running.append(TaskProcess(task, _build, log, place))
                    if not running:
                        break
                    if _have_status(dag, TaskStatus.WaitingUpstream):
                        preload()  # while this process has nothing to do
                    over = wait_for_any(running, lines.every_s)
                    late = [one for one in running if one.seconds > 60 * self.time_limit_minutes]
                    for one in {*over, *late}:
                        running.remove(one)
                        outcome = self._outcome(one, is_late=one not in over)
                        is_failure = isinstance(outcome, Failure)
                        lines.ended(one.task.name, one.seconds, failed=is_failure)
                        if is_failure:
                            one.task.exec_status = TaskStatus.Errored
                            failures.append(outcome)
                        else:
                            report, metadata = outcome
                            one.task.product.metadata.update_locally(metadata)
                            one.task.exec_status = TaskStatus.Executed
                            reports.append(report)
                    lines.show({one.task.name: (one.seconds, one.says()) for one in running})
            finally:
                with _undisturbed():
                    end(running)
        if failures:
            raise TasksFailed(failures)
        return reports

    def _outcome(self, process: TaskProcess, *, is_late: bool) -> Any:
        """Return report and metadata of a task that is over, or its failure."""
        name = process.task.name
        log = os.path.relpath(process.log)
        if is_late:
            end([process])
            limit = f"{self.time_limit_minutes:g} minutes (time_limit_minutes in env.yaml)"
            last = f"; the last that it said: {process.said()}" if process.said() else ""
            return Failure(name, f"was ended after {limit}{last}", TIMED_OUT, log=log)
        outcome = process.outcome()
        if outcome is None:
            outcome = Failure(name, f"its process {_KILLED}", exit_code=137)
        return replace(outcome, log=log) if isinstance(outcome, Failure) else outcome


@contextmanager
def _alone(logs: Path) -> Iterator[None]:
    """Hold the lock of the products while the block runs; TasksFailed if another run is at work on them, or nothing can be written."""
    try:
        logs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=logs):
            pass
    except OSError as error:
        line = _full_disk(error) or (
            f"nothing can be written to {os.path.relpath(logs.parent)} ({error.strerror}); "
            "make it a folder of your own, or give `products` another"
        )
        kind = tasks.errors.DiskFullError if _full_disk(error) else tasks.errors.InputError
        raise TasksFailed([Failure(MARKER, line, kind.exit_code)]) from None
    with lock_or_holder(logs / "run") as holder:
        if holder is not None:
            who = f"process {holder}" if holder else "another process"
            line = f"{who} is at work on {os.path.relpath(logs.parent)}; wait until it ends, or give `products` another folder"
            raise TasksFailed([Failure(MARKER, line, tasks.errors.UnavailableError.exit_code)])
        yield


@contextmanager
def _scratch(logs: Path) -> Iterator[Path]:
    """Yield the folder of the run's temporary files, removed afterwards; what a killed run left there goes first.

    It has a short path, since sockets are in it, and always the same one for the same products, so that the next
    run finds it.
    """
    name = hashlib.sha256(f"{os.getuid()} {logs}".encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"clicklab-run-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700)
    except OSError:  # it is somebody else's, or the disk is full
        folder = Path(tempfile.mkdtemp(prefix="clicklab-run-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no signal interrupt the clean-up, which takes seconds at most."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _ready(dag: Any, started: set[str]) -> list[Any]:
    waiting = _have_status(dag, TaskStatus.WaitingExecution, TaskStatus.WaitingDownload)
    return [task for task in waiting if task.name not in started]


def _have_status(dag: Any, *status: TaskStatus) -> list[Any]:
    return [task for task in dag.values() if task.exec_status in status]


def _build(task: Any) -> Any:
    """Run in the worker: build one task; return Ploomber's report and metadata, or the failure."""
    try:
        return task._build(catch_exceptions=True)
    except Exception as error:
        print_traceback()
        return describe_failure(task.name, error)


# by the error that tells of it: who was killed
_VICTIMS = {"DeadKernelError": "its kernel", "BrokenProcessPool": "one of its processes"}
_KILLED = "was killed (out of memory, perhaps); run the same command again to resume"


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
    cell = next((one.exec_count for one in chain if hasattr(one, "exec_count")), None)
    return replace(_described(task, error, chain), cell=cell)


def _described(task: str, error: BaseException, chain: list[BaseException]) -> Failure:
    for link in chain:
        if who := _VICTIMS.get(getattr(link, "ename", type(link).__name__)):
            return Failure(task, f"{who} {_KILLED}", exit_code=137)
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
