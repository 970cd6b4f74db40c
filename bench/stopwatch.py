"""What a contestant measures inside its own process; the standard library only, for it runs beside any peer."""

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

    What a process does before (imports, loading compiled code) and after (predicting the held-out
    rows) is not in it; the parent measures that with the process as a whole.
    """

    def __init__(self) -> None:
        self.phases: dict[str, float] = {}
        self.measured: dict[str, Any] = {}
        self._since = (0.0, 0.0)

    def start(self) -> None:
        """Begin."""
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
        """End, and note how many training rows it took."""
        self.measured = {
            "n_rows": n_rows,
            "wall_s": time.perf_counter() - self._since[0],
            "cpu_s": time.process_time() - self._since[1],
            "peak_rss_bytes": peak_rss_bytes(),
            "phases": self.phases,
        }

    def write(self, path: Path, **more: Any) -> None:
        """Write what was measured, and what else there is to say, as JSON."""
        path.write_text(json.dumps(self.measured | more))


def peak_rss_bytes() -> int:
    """Return the most memory this process has held.

    From ``/proc`` where there is one: ``getrusage`` begins with what the parent held at the fork.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def contestant_arguments(*variants: str) -> argparse.Namespace:
    """Return the arguments that every contestant is called with; ``meta`` is the data's."""
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", choices=variants)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bits", type=int, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--predict", type=Path, help="write held-out predictions to this .npy")
    arguments = parser.parse_args()
    arguments.meta = json.loads((arguments.data / "meta.json").read_text())
    return arguments
