"""A rehearsal that ends or is killed leaves no process and, if killed, no folder."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT
from tests.rehearsal.guard import marked

REHEARSAL = """
import subprocess, sys, tempfile, time
from pathlib import Path
from tests.rehearsal.guard import guarded, outside

with guarded(Path(sys.argv[1])):
    elsewhere = tempfile.mkdtemp(prefix=outside(sys.argv[1]))
    subprocess.Popen(["setsid", "sleep", "600"])
    print(elsewhere, flush=True)
    time.sleep(float(sys.argv[2]))
"""


def _begin(tmp_path, seconds):
    """Return a rehearsal of one process once it has begun, and its folder elsewhere."""
    words = [sys.executable, "-c", REHEARSAL, str(tmp_path / "rehearsal"), str(seconds)]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return process, Path(process.stdout.readline().strip())


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
    (process, elsewhere), folder = _begin(tmp_path, 600), tmp_path / "rehearsal"
    assert elsewhere.is_dir()
    assert len(marked(folder)) == 1
    process.send_signal(how)
    process.communicate()
    deadline = time.monotonic() + 30
    while folder.exists() or marked(folder) or _guards(folder):
        assert time.monotonic() < deadline, "something was left"
        time.sleep(0.1)
    assert not elsewhere.exists()


def test_rehearsal_that_ends_keeps_its_folder_only(tmp_path):
    """Logs and products stay for the user; what still runs is ended."""
    process, elsewhere = _begin(tmp_path, 0)
    elsewhere.rmdir()
    process.communicate()
    assert process.returncode == 0
    assert marked(tmp_path / "rehearsal") == []
    assert (tmp_path / "rehearsal").is_dir()
