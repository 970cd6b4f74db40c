"""One task in a process of its own, in a session of its own: what it prints goes to its log, and it ends with its children."""

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TextIO

import psutil
from ploomber.tasks import NotebookRunner

import tasks.errors
from tasks.pipeline.forked_kernel import prepare
from tasks.storage import progress

_GRACE_S = 5.0  # for a task that is asked to end, before it is killed
_FRESH_S = 15.0  # how long the line of a task is shown
_PROGRESS = "progress"  # file in which a task says how far it is
_LOOK_S = 2.0  # between two looks at which processes a task has started


class TaskProcess:
    """A task that is running.

    Parameters
    ----------
    task
        Ploomber's task.
    build
        Called with the task in the new process; its result is the outcome. It must not raise.
    log
        File for what the task and its kernel print.
    place
        Folder for its temporary files, which is removed with what the task leaves in it; in it, the task also reports how far it is.

    Attributes
    ----------
    task, log
        As given.
    since
        When it was started, of :func:`time.monotonic`.
    """

    def __init__(self, task: Any, build: Callable[[Any], Any], log: Path, place: Path):
        self.task, self.log, self.since = task, log, time.monotonic()
        self._place, self._progress, self._line = place, place / _PROGRESS, ""
        self._children: set[psutil.Process] = set()
        self._looked = self.since
        context = get_context("fork")
        self._answer, sender = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_run, args=(task, build, log, place, sender), name=task.name
        )
        self._process.start()
        sender.close()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.since

    def said(self) -> str:
        """Return what the task last said about how far it is; empty if nothing."""
        with suppress(OSError):
            self._line = self._progress.read_text() or self._line
        return self._line

    def says(self) -> str:
        """Return what it said just now; empty if that was a while ago, because it does something else since."""
        with suppress(OSError):
            if time.time() - self._progress.stat().st_mtime < _FRESH_S:
                return self.said()
        return ""

    def is_over(self) -> bool:
        """Return whether the outcome is there or never will be; meanwhile remember the task's children."""
        if time.monotonic() - self._looked > _LOOK_S:
            self._look()
        return self._answer.poll() or not self._process.is_alive()

    def outcome(self) -> Any:
        """Return what the build returned, None if the process was killed; nothing of it is left running."""
        try:
            return self._answer.recv() if self._answer.poll() else None
        except EOFError:
            return None
        finally:
            self._process.join(_GRACE_S)
            end([self])

    def _look(self) -> None:
        self._looked = time.monotonic()
        with suppress(psutil.Error):
            self._children |= set(psutil.Process(self._process.pid).children(recursive=True))


def wait_for_any(running: Iterable[TaskProcess], timeout_s: float) -> list[TaskProcess]:
    """Return those that are over, at the latest after the timeout."""
    running = list(running)
    wait([one._answer for one in running], timeout_s)
    return [one for one in running if one.is_over()]


def end(running: Iterable[TaskProcess]) -> None:
    """End tasks and all that they have started; they get a few seconds to clean up."""
    running = list(running)
    alive = [one for one in running if one._process.is_alive()]
    for one in alive:
        one._look()
        one._process.terminate()
    deadline = time.monotonic() + _GRACE_S
    for one in alive:
        one._process.join(max(0.0, deadline - time.monotonic()))
    for one in running:
        one._process.kill()
        one._process.join()
        for child in one._children:
            with suppress(psutil.Error):
                child.kill()
        one._answer.close()
        one.said()  # once more, to be remembered
        shutil.rmtree(one._place, ignore_errors=True)


def _run(
    task: Any, build: Callable[[Any], Any], log: Path, place: Path, sender: Connection
) -> None:
    """Run in the new process: build, and send the outcome."""
    os.setsid()  # Ctrl-C is the parent's, which ends its tasks
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, _leave)
    with suppress(OSError):  # a full disk is met, and told, where something is written
        place.mkdir(parents=True, exist_ok=True)
        os.environ["TMPDIR"] = str(place)
        tempfile.tempdir = None  # found anew
    progress.send_to(place / _PROGRESS)
    with _printing_to(log):
        if isinstance(task, NotebookRunner):
            prepare()  # before there is a second thread
        end_with(os.getppid())
        sender.send(build(task))


def _leave(number: int, _: Any) -> None:
    """Handle a signal: unwind, so that servers are stopped and temporary files deleted."""
    sys.exit(128 + number)


def end_with(parent: int) -> None:
    """Have this process and its children end soon after its parent was killed; returns at once."""
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()
    os._exit(128 + signal.SIGKILL)


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


def print_traceback() -> None:
    """Print the current error to the log; the log's own disk may be the one that is full."""
    with suppress(OSError):
        traceback.print_exc()
