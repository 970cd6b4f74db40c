"""Kernels that are forked instead of started: a task's process has imported already what its notebook imports.

A new interpreter that imports MLflow, scikit-learn and Matplotlib takes ten seconds of a processor before the first
row is read, and a pipeline has a notebook per model. A process is forked when a task begins, while it has one thread
and nothing open; it waits until the notebook is run and becomes its kernel then, with the environment, folder and
arguments that a started one would have.
"""

import atexit
import json
import logging
import os
import random
import signal
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner

_MODULE = "ipykernel_launcher"
_IMPORTED = (
    "ipykernel.ipkernel",
    "ipykernel.kernelapp",
    "matplotlib.pyplot",
    "matplotlib_inline.backend_inline",
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "numba",
    "pandas",
    "scipy.stats",
    "sklearn.metrics",
)


@cache
def preload() -> None:
    """Import what most notebooks import, for all processes that are forked afterwards."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Any type hint is inferred")  # MLflow's own
        for name in _IMPORTED:
            import_module(name)


class Spare:
    """A process that waits to become a kernel, seen from the one that forked it.

    It has what of :class:`subprocess.Popen` Jupyter uses.
    """

    stdin = stdout = stderr = None

    def __init__(self, pid: int, line: int):
        self.pid, self._line = pid, line
        self.returncode: int | None = None

    def become_kernel(self, words: Sequence[str], env: Mapping[str, str], cwd: str | None) -> None:
        """Make it the kernel that this command would start."""
        told = json.dumps({"words": list(words), "env": dict(env), "cwd": cwd})
        with os.fdopen(self._line, "w") as line:
            line.write(told)

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                self.returncode = 0
            else:
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self) -> int | None:
        """Return its exit code once it is over."""
        if self.returncode is None:
            with suppress(ChildProcessError):
                _, status = os.waitpid(self.pid, 0)
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.poll()

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it is over."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


_spares: list[Spare] = []


def prepare() -> None:
    """Fork the process that will be the kernel of this one; it ends if this one ends first."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        _wait_to_be_kernel(reader)
    os.close(reader)
    _spares.append(Spare(pid, writer))


def take() -> Spare | None:
    """Return the process that :func:`prepare` forked, once; None if there is none."""
    return _spares.pop() if _spares else None


class ForkedProvisioner(LocalProvisioner):
    """What Jupyter asks for a kernel, giving it a forked one where the command is that of this Python's kernel."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Return how to reach the kernel that `cmd` would start."""
        spare = take() if _is_ours(cmd) else None
        if spare is None:
            return await super().launch_kernel(cmd, **kwargs)
        env = kwargs.get("env", os.environ) | {"JPY_PARENT_PID": str(os.getpid())}
        spare.become_kernel(cmd[2:], env, kwargs.get("cwd"))
        self.process: Any = spare
        self.pid = self.pgid = spare.pid
        return self.connection_info


def _is_ours(cmd: Sequence[str]) -> bool:
    return list(cmd[:3]) == [sys.executable, "-m", _MODULE]


def _wait_to_be_kernel(reader: int) -> None:
    """Run in the forked process, and never return."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with os.fdopen(reader) as line:
            told = line.read()
        if told:
            code = _be_kernel(**json.loads(told))
    finally:
        os._exit(code)


def _be_kernel(words: list[str], env: Mapping[str, str], cwd: str | None) -> int:
    atexit._clear()  # those of the process that it was forked from, such as removing its folders
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None  # found anew, in this environment
    if cwd is not None:
        os.chdir(cwd)
    sys.argv = words
    logging.getLogger().handlers.clear()
    _reseed()
    from ipykernel import kernelapp

    try:
        kernelapp.launch_new_instance()
        return 0
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    finally:
        atexit._run_exitfuncs()


def _reseed() -> None:
    """Give this process random numbers of its own; a notebook that wants certain ones sets a seed."""
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    if matplotlib := sys.modules.get("matplotlib"):
        backend = os.environ.get("MPLBACKEND") or "module://matplotlib_inline.backend_inline"
        matplotlib.rcParams["backend"] = backend
