"""Containers of a rehearsal by podman, for real: of the base image, and of the built ones in a scenario."""

import os
import signal
import subprocess
import sys
import time

import pytest

from infra.rehearsal.engines import choose
from infra.rehearsal.house import house
from infra.rehearsal.podman import Container, ask
from infra.rehearsal.processes import MARK
from infra.rehearsal.scenario import PIPELINE
from tests.conftest import ROOT
from tests.infra.containers import base, build, runner

pytestmark = pytest.mark.nightly
PLAYED = ("spot-interruption", "out-of-memory")
REHEARSAL = """
import sys, time
from pathlib import Path
from infra.rehearsal.guard import guarded
from infra.rehearsal.podman import Container, layer

folder, image = Path(sys.argv[1]), sys.argv[2]
with guarded(folder, has_podman=True):
    (folder / "files").mkdir()
    name = layer(image, folder / "files", "/app")
    Container(name, ["python", "-uc", "print('on'); import time; time.sleep(600)"], {},
              cpu=256, memory_mb=128, say=lambda line: print(line, flush=True))
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def image():
    """The base image, which has Python; skips where podman or it is not here."""
    if runner() != "podman":
        pytest.skip("the engine here is not podman")
    return base("podman")


@pytest.fixture
def start(image, monkeypatch, tmp_path):
    """Starts a container that runs some Python."""
    monkeypatch.setenv(MARK, str(tmp_path))

    def start(code, **told):
        said = []
        words = ["python", "-uc", code]
        found = Container(image, words, told, cpu=1024, memory_mb=100, say=said.append)
        found.said = said
        return found

    return start


def _left(mark):
    label = f"label=clicklab.rehearsal={mark}"
    return ask("ps", "--all", "--quiet", "--filter", label), ask(
        "images", "--quiet", "--filter", label
    )


def test_exit_code_lines_and_variables_of_a_container(start, tmp_path):
    """What process 1 prints and ends with is told, and nothing of it is left."""
    container = start("import os; print(os.environ['WORD']); raise SystemExit(4)", WORD="hello")
    assert (container.wait(), container.said) == (4, ["hello"])
    assert _left(tmp_path) == ("", "")


def test_memory_beyond_the_limit_is_killed_with_137(start):
    """By the kernel, and it is known why."""
    container = start("held = b'x' * (200 << 20); import time; time.sleep(30)")
    assert container.wait() == 137
    assert container.memory_killed


def test_stop_is_sigterm_then_sigkill(start):
    """However early it is asked for."""
    polite = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(143)); print(1); time.sleep(30)"
    container = start(polite)
    while not container.said:
        time.sleep(0.02)
    container.stop(20)
    assert container.wait() == 143
    deaf = start("import time; time.sleep(30)")
    deaf.stop(1)
    assert deaf.wait() == 137


def test_killed_rehearsal_leaves_no_container_and_no_layer(image, tmp_path):
    """Its guard removes them."""
    folder = tmp_path / "rehearsal"
    words = [sys.executable, "-c", REHEARSAL, str(folder), image]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "on\n"
    assert all(_left(folder))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 60
    while folder.exists() or any(_left(folder)):
        assert time.monotonic() < deadline, "something was left"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def stage(image, tmp_path_factory):
    """A deployment whose containers are of the files as they are."""
    kinds = ["pipeline", "tracking"]
    for kind in kinds:
        build(kind)
    folder = tmp_path_factory.mktemp("rehearsal")
    with house(folder, choose("podman", kinds)) as found:
        yield found
    assert not any(_left(folder))


@pytest.mark.parametrize("name", PLAYED)
def test_scenario_is_shown_by_containers_of_the_built_image(stage, name):
    """SIGTERM and a limit of memory, the two that processes only stand for."""
    scenario = next(one for one in PIPELINE if one.name == name)
    assert scenario.play(stage)
