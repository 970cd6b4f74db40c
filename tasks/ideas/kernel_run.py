"""A notebook run top to bottom in a fresh kernel, with a time limit, a memory limit, and the guard inside."""

import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.ideas.notebook import PARAMETERS, Fault
from tasks.jupyter.interactive import assignments
from tasks.pipeline.kernel_manager import SocketKernelManager

_GUARD = (
    "__import__('tasks.ideas.guard', fromlist=['install']).install({allowed!r}, {memory_gb!r})\n"
)


@dataclass(frozen=True)
class Limits:
    """What a notebook may take: minutes and memory in GiB."""

    minutes: float = 5.0
    memory_gb: float = 4.0


DEFAULT = Limits()


def run(
    path: str | Path,
    root: Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    allowed: Sequence[str] = (),
    limits: Limits = DEFAULT,
) -> Fault | None:
    """Run a notebook and return what was wrong, None if every cell ran to its end.

    Parameters
    ----------
    path
        The notebook; it is not changed.
    root
        The project, in which the kernel starts.
    parameters
        What is injected below the ``parameters`` cell.
    allowed
        Absolute paths that it may write; a temporary folder is always allowed.
    limits
        Of this one run.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    content = nbformat.read(path, as_version=4)
    numbers = _numbered(content, parameters)
    deadline = time.monotonic() + 60 * limits.minutes
    now = {"cell": 0}

    def begin(cell: Any, cell_index: int) -> None:
        now["cell"] = numbers.get(cell.id, now["cell"])

    with tempfile.TemporaryDirectory(prefix="clicklab-kernel-") as folder:
        client = NotebookClient(
            content,
            kernel_name="python3",
            kernel_manager_class=SocketKernelManager,
            resources={"metadata": {"path": str(root)}},
            timeout_func=lambda cell: max(1, int(deadline - time.monotonic())),
            on_cell_start=begin,
        )
        environment = _environment(Path(folder), [*allowed, folder], limits)
        try:
            client.execute(env=environment)
        except CellTimeoutError:
            text = f"has not ended after {limits.minutes:g} minutes (MINUTES=)"
            return Fault(now["cell"], 0, text)
        except DeadKernelError:
            text = "killed its kernel; it needs more memory than there is, perhaps"
            return Fault(now["cell"], 0, text)
        except CellExecutionError as error:
            return _failure(now["cell"], error, limits)
    return None


def _numbered(content: Any, parameters: Mapping[str, Any] | None) -> dict[str, int]:
    """Inject the parameters, and return the number of each code cell by its id."""
    import nbformat

    numbers: dict[str, int] = {}
    injected = None
    for index, cell in enumerate(content.cells):
        cell.setdefault("id", f"cell-{index}")
        if cell.cell_type == "code":
            numbers[cell.id] = len(numbers) + 1
            if PARAMETERS in cell.metadata.get("tags", []):
                injected = index + 1
    if parameters is not None and injected is not None:
        content.cells.insert(injected, nbformat.v4.new_code_cell(assignments(parameters)))
    return numbers


def _environment(folder: Path, allowed: list[str], limits: Limits) -> dict[str, str]:
    """Return the kernel's environment: a profile of IPython that installs the guard, and a temporary folder."""
    import os

    startup = folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    guard = _GUARD.format(allowed=allowed, memory_gb=limits.memory_gb)
    (startup / "00-guard.py").write_text(guard)
    return os.environ | {"IPYTHONDIR": str(folder / "ipython"), "TMPDIR": str(folder)}


def _failure(number: int, error: Any, limits: Limits) -> Fault:
    places = re.findall(r"Cell In\[\d+\], line (\d+)", re.sub(r"\x1b\[[\d;]*m", "", str(error)))
    line = int(places[0]) if places else 0
    name, value = error.ename, str(error.evalue).splitlines()
    said = value[0] if value else ""
    if name == "RefusedInTrial":
        return Fault(number, line, said)
    if name in ("MemoryError", "_ArrayMemoryError", "ArrowMemoryError"):
        return Fault(
            number, line, f"needs more than {limits.memory_gb:g} GB of memory (MEMORY_GB=): {said}"
        )
    return Fault(number, line, f"{name}: {said}"[:300])
