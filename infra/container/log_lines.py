"""Log lines as JSON, one object per line: time, level, run, task, cell, message."""

import json
import re
import sys
import threading
from datetime import UTC, datetime
from typing import Any, TextIO

from infra.container.run_settings import RunSettings

_CELL = re.compile(r"(Executing|Ending) Cell (\d+)-*")
_NOISE = re.compile(
    r"(In|Out)put Notebook: .*|<Figure size .*|Alternative text is missing .*|.*Kernel is running over TCP.*"
)
_MAX = 16_000  # characters of a message; CloudWatch takes 256 KiB an event


class LogLines:
    """Writes a task's lines, and tracks which cell of its notebook is running."""

    def __init__(self, job: RunSettings, out: TextIO | None = None):
        self.cell: int | None = None
        self._out = out or sys.stdout
        self._lock = threading.Lock()
        self._about: dict[str, Any] = {"run": job.run, "task": job.task, "attempt": job.attempt}
        if job.shard is not None:
            self._about["shard"] = job.shard

    def say(self, message: str, *, level: str = "info", **facts: Any) -> None:
        """Write one line."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {
            "time": time,
            "level": level,
            **self._about,
            "cell": self.cell,
            "message": message[:_MAX],
        }
        with self._lock:
            self._out.write(json.dumps(line | facts, default=str) + "\n")
            self._out.flush()

    def pass_on(self, line: str) -> None:
        """Write a line that the task printed; papermill's lines about cells set ``cell``."""
        text = line.rstrip()
        found = _CELL.fullmatch(text)
        if found is None:
            if text and not _NOISE.fullmatch(text):
                self.say(text)
        elif found[1] == "Executing":
            self.cell = int(found[2])
            self.say(f"cell {self.cell}")
