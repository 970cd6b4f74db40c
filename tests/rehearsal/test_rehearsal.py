"""The rehearsal's command, run as a user runs it: moto is patched there, so it has a process of its own."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.infra.terraform.emulated import terraform_command
from tests.rehearsal.__main__ import main


def _run(*words):
    """Return what the command prints; it must succeed."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.rehearsal", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_short_set_passes():
    """Real tasks under the real state machine, in the pipeline's part of the Terraform."""
    terraform_command()
    assert "5 of 5 passed" in _run("--short")


@pytest.mark.nightly
def test_everything_passes():
    """From `terraform apply` to nothing left, and every fault of the pipeline and the service."""
    terraform_command()
    printed = _run("all")
    assert "FAILED" not in printed
    for name in ("out-of-memory", "mlflow-unavailable", "canary-aborted", "broken-deploy"):
        assert f"passed: {name}" in printed


def test_the_list_names_every_scenario(capsys):
    """A whole deployment, faults of the pipeline, and the service."""
    assert main(["--list"]) == 0
    printed = capsys.readouterr().out
    assert printed.index("second-plan") < printed.index("fails-once") < printed.index("canary-")


def test_an_unknown_scenario_is_one_line(capsys):
    """Nothing is started, and the known words are printed."""
    assert main(["no-such-thing"]) == 3
    message = "error: no scenario is called 'no-such-thing'; there are whole, all, "
    assert message in capsys.readouterr().err
