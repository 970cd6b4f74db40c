"""The rehearsal's command, run as a user runs it: moto is patched there, so it has a process of its own."""

import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.rehearsal.__main__ import main
from tests.rehearsal.podman import choose_engine


def _run(*words):
    """Return what the command prints; it must succeed."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.rehearsal", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_short_set_passes():
    """Real tasks under the real state machine, without Terraform."""
    assert "4 of 4 passed" in _run("--short", "--engine", "processes")


@pytest.mark.nightly
def test_everything_passes():
    """From `terraform apply` to nothing left, and every fault of the pipeline and the service."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not on this machine")
    printed = _run("all", "--engine", "processes")
    assert "FAILED" not in printed
    for name in ("out-of-memory", "mlflow-away", "worker-killed", "broken-deploy"):
        assert f"passed: {name}" in printed


def test_the_list_names_every_scenario(capsys):
    """Faults of the pipeline, then those of the service."""
    assert main(["--list"]) == 0
    printed = capsys.readouterr().out
    assert printed.index("fails-once") < printed.index("gate-refuses") < printed.index("canary-")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no-such-thing"], "error: no scenario is called 'no-such-thing'; there are whole, "),
        (
            ["time-limit", "--engine", "docker"],
            "error: ENGINE is 'docker'; it can be podman or processes",
        ),
    ],
)
def test_a_wrong_word_is_one_line(words, message, capsys):
    """Nothing is started, and the known words are printed."""
    assert main(words) == 3
    assert message in capsys.readouterr().err


def test_without_podman_containers_are_processes(monkeypatch):
    """The reason is printed; asked for, it is an error."""
    monkeypatch.setattr("tests.rehearsal.podman.PROGRAM", "no-such-podman")
    engine = choose_engine("", ["pipeline"])
    assert (engine.built, engine.tag) == ({}, "initial")
    assert "no-such-podman" in engine.why
