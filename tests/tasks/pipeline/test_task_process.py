"""One task in a process of its own: its outcome, its log, its line, and that nothing of it stays."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from tasks.pipeline.task_process import TaskProcess, end, wait_for_any
from tasks.storage import progress


class Task:
    """What stands for a task of Ploomber's."""

    name = "task"


_STARTED = []


@pytest.fixture(autouse=True)
def _nothing_stays():
    """A test that fails leaves no process, for which pytest would wait for ever."""
    yield
    end(_STARTED)
    _STARTED.clear()


def start(folder, build):
    """Start a task whose files lie in a folder."""
    _STARTED.append(TaskProcess(Task(), build, folder / "logs" / "task.log", folder / "place"))
    return _STARTED[-1]


def wait_until(is_so):
    """Wait until something holds; a test that hangs says so."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def finished(process):
    """Wait for a process, and return its outcome."""
    wait_until(lambda: wait_for_any([process], 0.1))
    return process.outcome()


def started_child(folder, process):
    """Return the child whose number the task wrote down, once the process knows it."""
    wait_until(lambda: (folder / "pid").exists() and (folder / "pid").read_text())
    child = psutil.Process(int((folder / "pid").read_text()))
    process._look()
    return child


def is_gone(process):
    """Return whether a process has ended."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_the_outcome_comes_back_and_the_output_is_in_the_log(tmp_path):
    """Also what its children print."""

    def build(task):
        os.write(1, f"from {task.name}\n".encode())
        subprocess.run(["echo", "from a child"], check=True)
        return list(range(100_000))  # more than a pipe holds

    process = start(tmp_path, build)
    assert len(finished(process)) == 100_000
    assert (tmp_path / "logs" / "task.log").read_text() == "from task\nfrom a child\n"


def test_a_task_that_vanishes_has_no_outcome_and_leaves_no_child(tmp_path):
    """Killed for its memory, with a server that it had started."""

    def build(task):
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        (tmp_path / "pid").write_text(str(child.pid))
        time.sleep(600)

    process = start(tmp_path, build)
    child = started_child(tmp_path, process)
    os.kill(process._process.pid, signal.SIGKILL)
    assert finished(process) is None
    wait_until(lambda: is_gone(child))


def test_temporary_files_of_a_killed_task_go_with_it(tmp_path):
    """Also those of its children; a task cannot remove them itself any more."""

    def build(task):
        left = tempfile.mkdtemp()
        subprocess.run([sys.executable, "-c", "import tempfile; tempfile.mkdtemp()"], check=True)
        (tmp_path / "left").write_text(left)
        os.kill(os.getpid(), signal.SIGKILL)

    process = start(tmp_path, build)
    assert finished(process) is None
    left = Path((tmp_path / "left").read_text())
    assert left.parent == tmp_path / "place"
    assert not left.parent.exists()


def test_a_task_that_is_asked_to_end_cleans_up(tmp_path):
    """Its `finally` runs, so that it stops its servers and deletes what is temporary."""

    def build(task):
        try:
            (tmp_path / "begun").touch()
            time.sleep(600)
        finally:
            (tmp_path / "cleaned").touch()

    process = start(tmp_path, build)
    wait_until((tmp_path / "begun").exists)
    end([process])
    assert (tmp_path / "cleaned").exists()


def test_a_task_that_does_not_listen_is_killed_with_its_children(tmp_path, monkeypatch):
    """After a few seconds."""
    monkeypatch.setattr("tasks.pipeline.task_process._GRACE_S", 0.2)

    def build(task):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        (tmp_path / "pid").write_text(str(child.pid))
        time.sleep(600)

    process = start(tmp_path, build)
    child = started_child(tmp_path, process)
    end([process])
    assert not process._process.is_alive()
    wait_until(lambda: is_gone(child))


def test_what_a_task_reports_can_be_read_while_it_runs(tmp_path):
    """Through the file that it finds in its environment."""

    def build(task):
        progress.report(1, 4)
        (tmp_path / "said").touch()
        time.sleep(600)

    process = start(tmp_path, build)
    wait_until((tmp_path / "said").exists)
    said = process.said()
    assert said == process.says()
    assert said.startswith("25% of 4 rows")  # and the time left, where starting took long
    os.utime(tmp_path / "place" / "progress", (0, 0))
    assert (process.said(), process.says()) == (said, "")
    end([process])


PARENT = """
import sys, time
from pathlib import Path
from tests.tasks.pipeline.test_task_process import start

def build(task):
    import os
    (Path(sys.argv[1]) / "pid").write_text(str(os.getpid()))
    time.sleep(600)

start(Path(sys.argv[1]), build)
time.sleep(600)
"""


@pytest.mark.slow
def test_a_task_ends_when_its_parent_was_killed(tmp_path):
    """Nobody is left to end it."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)])
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    task = psutil.Process(int((tmp_path / "pid").read_text()))
    parent.kill()
    parent.wait()
    wait_until(lambda: is_gone(task))
