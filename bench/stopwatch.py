"""Measurements within the process of a contestant; standard library only, since it runs in any environment."""

import argparse
import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Stopwatch:
    """Time, processor time and memory between :meth:`start` and :meth:`stop`, by phase.

    Work before (imports, loading compiled code) and after (predicting the held-out rows) is not
    included; the parent measures the process as a whole.
    """

    def __init__(self) -> None:
        self.phases: dict[str, float] = {}
        self.measured: dict[str, Any] = {}
        self._since = (0.0, 0.0)

    def start(self) -> None:
        """Start the clock."""
        self._since = (time.perf_counter(), time.process_time())

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the block to a phase."""
        since = time.perf_counter()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.perf_counter() - since

    def stop(self, n_rows: int) -> None:
        """Stop the clock, and record the number of training rows."""
        self.measured = {
            "n_rows": n_rows,
            "wall_s": time.perf_counter() - self._since[0],
            "cpu_s": time.process_time() - self._since[1],
            "peak_rss_bytes": peak_rss_bytes(),
            "phases": self.phases,
        }

    def write(self, path: Path, **more: Any) -> None:
        """Write the measurements and further entries as JSON."""
        path.write_text(json.dumps(self.measured | more))


def peak_rss_bytes() -> int:
    """Return the peak memory of this process.

    Read from ``/proc`` where it exists: ``getrusage`` starts with the memory of the parent at the fork.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def contestant_arguments(*variants: str) -> argparse.Namespace:
    """Return the command-line arguments of a contestant; ``meta`` is the content of ``meta.json``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", choices=variants)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bits", type=int, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--predict", type=Path, help="write held-out predictions to this .npy")
    arguments = parser.parse_args()
    arguments.meta = json.loads((arguments.data / "meta.json").read_text())
    return arguments
