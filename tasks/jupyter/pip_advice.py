"""What ``%pip`` and ``!pip`` say in a notebook: how a package is added so that everyone and the pipeline get it.

Kernels load this as an IPython extension (:mod:`tasks.jupyter.setup`); the environment has no pip of its own.
"""

import os
import sys
from pathlib import Path
from typing import Any


def advice(line: str) -> str:
    """Return what to do instead of a line of pip.

    Examples
    --------
    >>> print(advice("install -U lightgbm"))
    Nothing was installed. In a terminal: make add PACKAGE=lightgbm, then restart the kernel.
    It adds the package to pyproject.toml and requirements.lock, so that the pipeline and your team have it too.
    """
    words = [word for word in line.split() if not word.startswith("-")]
    package = words[1] if words[:1] == ["install"] and len(words) > 1 else "lightgbm"
    return (
        f"Nothing was installed. In a terminal: make add PACKAGE={package}, then restart the kernel.\n"
        "It adds the package to pyproject.toml and requirements.lock, so that the pipeline and your team have it too."
    )


def load_ipython_extension(shell: Any) -> None:
    """Let ``%pip`` give the advice, and ``!pip`` find the environment's own, however Jupyter was started."""
    os.environ["PATH"] = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    shell.register_magic_function(_pip, "line", "pip")


def _pip(line: str) -> None:
    sys.stdout.write(advice(line) + "\n")


def main() -> None:
    """Be the ``pip`` of the environment."""
    sys.stderr.write(advice(" ".join(sys.argv[1:])) + "\n")
    sys.exit(1)
