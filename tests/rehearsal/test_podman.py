"""Containers by podman, for real: of the base image, and of the built ones in scenarios."""

import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from tests.infra.containers import base, build, runner
from tests.rehearsal import podman
from tests.rehearsal.podman import Container, ask
from tests.rehearsal.processes import MARK

REHEARSAL = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process ignores it
from tests.rehearsal.guard import guarded
from tests.rehearsal.podman import Container, add_layer

folder, image = Path(sys.argv[1]), sys.argv[2]
with guarded(folder):
    (folder / "files").mkdir()
    name = add_layer(image, folder / "files", "/app")
    Container(name, ["python", "-uc", "print('on'); import time; time.sleep(600)"], {},
              cpu=256, memory_mb=128, on_line=lambda line: print(line, flush=True))
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def image():
    """The base image, which has Python; skips where podman or the image is missing."""
    if runner() != "podman":
        pytest.skip("the engine here is not podman")
    return base("podman")


def _left(mark):
    label = f"label=clicklab.rehearsal={mark}"
    containers = ask("ps", "--all", "--quiet", "--filter", label)
    return containers, ask("images", "--quiet", "--filter", label)


def test_everything_with_the_mark_is_removed(monkeypatch):
    """Containers first; where nothing is found nothing is removed."""
    asked = []

    def ask(*words):
        asked.append(words)
        return "a\nb" if words[0] == "ps" else ""

    monkeypatch.setattr(podman, "ask", ask)
    podman.remove_all("/rehearsal")
    assert [words[0] for words in asked] == ["ps", "rm", "images"]
    assert set(asked[1][-2:]) == {"a", "b"}
    assert all("label=clicklab.rehearsal=/rehearsal" in asked[i] for i in (0, 2))


@pytest.mark.nightly
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_ended_rehearsal_leaves_no_container_and_no_layer(image, tmp_path, how):
    """The guard removes them after a kill, the rehearsal itself after Ctrl-C."""
    folder = tmp_path / "rehearsal"
    words = [sys.executable, "-c", REHEARSAL, str(folder), image]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "on\n"
    assert all(_left(folder))
    process.send_signal(how)
    process.communicate()
    deadline = time.monotonic() + 60
    while (how == signal.SIGKILL and folder.exists()) or any(_left(folder)):
        assert time.monotonic() < deadline, "something was left"
        time.sleep(0.2)


@pytest.mark.nightly
def test_container_is_limited_and_stopped_as_by_ecs(image, monkeypatch, tmp_path):
    """Its variables and exit code are seen; memory beyond the limit is 137; nothing is left."""
    monkeypatch.setenv(MARK, str(tmp_path))
    lines = []

    def start(code):
        words = ["python", "-uc", code]
        size = {"cpu": 1024, "memory_mb": 100}
        return Container(image, words, {"WORD": "hello"}, on_line=lines.append, **size)

    assert start("import os; print(os.environ['WORD']); raise SystemExit(4)").wait() == 4
    assert lines == ["hello"]
    hungry = start("held = b'x' * (200 << 20); import time; time.sleep(30)")
    assert (hungry.wait(), hungry.memory_killed) == (137, True)
    deaf = start("import time; time.sleep(30)")
    deaf.stop(1)
    assert deaf.wait() == 137
    assert _left(tmp_path) == ("", "")


@pytest.mark.nightly
def test_scenarios_pass_in_containers_of_the_built_images(image):
    """SIGTERM and a memory limit, which processes only imitate."""
    for kind in ("pipeline", "tracking"):
        build(kind)
    words = ["spot-interruption", "out-of-memory", "--engine", "podman"]
    command = [sys.executable, "-W", "ignore", "-m", "tests.rehearsal", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
