"""What pip says in a notebook."""

import os
import subprocess
import sys
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell

from tasks.jupyter.pip_advice import advice, load_ipython_extension


def test_the_package_that_was_asked_for_is_named():
    """Options are left out; without a package there is an example."""
    assert "make add PACKAGE=polars," in advice("install --upgrade polars")
    assert "make add PACKAGE=lightgbm," in advice("list")


def test_the_magic_installs_nothing_and_says_so(capsys, monkeypatch):
    """In a shell of IPython, as a kernel has it; `!pip` finds the environment's programs first."""
    monkeypatch.setenv("PATH", "/usr/bin")
    shell = InteractiveShell()
    load_ipython_extension(shell)
    shell.run_line_magic("pip", "install polars")
    assert "Nothing was installed" in capsys.readouterr().out
    assert os.environ["PATH"].startswith(str(Path(sys.prefix) / "bin"))


def test_the_program_fails():
    """A script that continued would not have its package."""
    command = [
        sys.executable,
        "-c",
        "from tasks.jupyter.pip_advice import main; main()",
        "install",
        "polars",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "make add PACKAGE=polars" in done.stderr
