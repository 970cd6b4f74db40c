"""A kernel that was forked: what a started one would be, and gone when it should be."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tasks.pipeline import forked_kernel
from tests.conftest import ROOT

NOTEBOOK = """
import json, os, random, sys, nbformat, numpy, tempfile
from nbclient import NotebookClient
from tasks.pipeline import forked_kernel
from tasks.pipeline.kernel_manager import SocketKernelManager

marker = object()
sys.modules["was_here"] = marker
random.seed(1), numpy.random.seed(1)
kept = tempfile.TemporaryDirectory()
os.environ["SET_BEFORE"] = "1"
forked_kernel.prepare()
os.environ["SET_AFTER"] = "1"
cells = [nbformat.v4.new_code_cell(source) for source in (
    "import os, sys, json, random, numpy, tempfile",
    "print(json.dumps({'forked': 'was_here' in sys.modules, 'pid': os.getpid(), 'parent': os.getppid(),"
    " 'after': os.environ.get('SET_AFTER'), 'folder': os.getcwd(), 'random': [random.random(), numpy.random.rand()],"
    " 'path': sys.path[0], 'main': __name__}))",
    "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()",
)]
notebook = nbformat.v4.new_notebook(cells=cells)
made = [random.random(), numpy.random.rand()]
NotebookClient(notebook, kernel_name="python3", kernel_manager_class=SocketKernelManager,
               resources={"metadata": {"path": sys.argv[1]}}).execute()
said = json.loads(notebook.cells[1].outputs[0].text)
said |= {"mine": os.getpid(), "made": made, "kept": os.path.isdir(kept.name),
         "picture": "image/png" in notebook.cells[2].outputs[-1].data}
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What a notebook in a forked kernel found."""
    folder = tmp_path_factory.mktemp("work")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NOTEBOOK, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | {"wanted": str(folder)}


@pytest.mark.slow
def test_it_is_what_a_started_kernel_would_be(said):
    """Environment, folder and random numbers of its own; figures are drawn in the notebook."""
    assert said["forked"] and said["parent"] == said["mine"]
    assert said["after"] == "1" and said["folder"] == said["wanted"]
    assert (said["path"], said["main"]) == ("", "__main__")
    assert not {*said["random"]} & {*said["made"]}
    assert said["picture"]


@pytest.mark.slow
def test_it_ends_with_its_notebook_and_takes_nothing_along(said):
    """Least of all the temporary folders of the process that it was forked from."""
    assert not psutil.pid_exists(said["pid"])
    assert said["kept"]


WAITING = """
import sys, time
from tasks.pipeline import forked_kernel
forked_kernel.prepare()
print(forked_kernel.take().pid, flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_one_that_still_waits_ends_with_the_process_that_forked_it():
    """Even if that is killed."""
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", WAITING], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with parent:
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_signal_is_its_exit_code():
    """As Jupyter expects of a process; asked twice, the answer is the same."""
    forked_kernel.prepare()
    spare = forked_kernel.take()
    assert forked_kernel.take() is None
    assert spare.poll() is None
    spare.terminate()
    assert spare.wait() == spare.poll() == spare.wait() == -signal.SIGTERM
    spare.kill()  # nothing is left to be killed
    os.close(spare._line)


@pytest.mark.parametrize(
    ("command", "is_ours"),
    [
        ([sys.executable, "-m", "ipykernel_launcher", "-f", "x"], True),
        ([sys.executable, "-m", "xeus_python_launcher"], False),
        ([str(Path(sys.executable).with_name("python9")), "-m", "ipykernel_launcher"], False),
        (["R", "--slave"], False),
        ([], False),
    ],
)
def test_only_this_pythons_own_kernel_is_forked(command, is_ours):
    """A kernel of another language or environment is started."""
    assert forked_kernel._is_ours(command) == is_ours
