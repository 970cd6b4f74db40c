"""A rehearsal that ends or is killed leaves no process and, if killed, no folder."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.conftest import ROOT
from tests.rehearsal.guard import guarded, marked
from tests.rehearsal.processes import MARK

REHEARSAL = """
import subprocess, sys, time
from pathlib import Path
from tests.rehearsal.guard import also_remove, guarded

folder, outside = Path(sys.argv[1]), Path(sys.argv[2])
with guarded(folder):
    also_remove(folder / "part", outside)
    subprocess.Popen(["setsid", "sleep", "600"])
    print("on", flush=True)
    time.sleep(float(sys.argv[3]))
"""


def _begin(tmp_path, seconds):
    """Return a rehearsal of one process once it has begun."""
    (tmp_path / "outside").mkdir()
    words = [str(tmp_path / "rehearsal"), str(tmp_path / "outside"), str(seconds)]
    process = subprocess.Popen(
        [sys.executable, "-c", REHEARSAL, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "on\n"
    return process


def _guards(folder):
    return [
        one
        for one in psutil.process_iter(["cmdline"])
        if "tests.rehearsal.guard" in (one.info["cmdline"] or ())
        and str(folder) in one.info["cmdline"]
    ]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_rehearsal_leaves_nothing(tmp_path, how):
    """Not the processes that it started, not its folder, not its database's elsewhere, not the guard."""
    process, folder = _begin(tmp_path, 600), tmp_path / "rehearsal"
    assert len(marked(folder)) == 1
    process.send_signal(how)
    process.communicate()
    deadline = time.monotonic() + 30
    while folder.exists() or marked(folder) or _guards(folder):
        assert time.monotonic() < deadline, "something was left"
        time.sleep(0.1)
    assert not (tmp_path / "outside").exists()


def test_rehearsal_that_ends_keeps_its_folder_only(tmp_path):
    """Logs and products stay for the user; what still runs is ended."""
    process = _begin(tmp_path, 0)
    process.communicate()
    assert process.returncode == 0
    assert marked(tmp_path / "rehearsal") == []
    assert (tmp_path / "rehearsal").is_dir()


def test_mark_ends_with_the_rehearsal(tmp_path):
    """What is started afterwards is not its process."""
    with guarded(tmp_path / "rehearsal"):
        assert os.environ[MARK] == str(tmp_path / "rehearsal")
    assert MARK not in os.environ
