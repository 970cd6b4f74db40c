"""The tables of the bench, and the JSON files with their numbers."""

import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.contest import CONTESTANTS, Record
from bench.targets import Outcome
from tasks.storage.files import write_atomic

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
_LABELS = {contestant.key: contestant.label for contestant in CONTESTANTS}
_QUALITIES = {"log_loss": "held-out log loss", "progressive_log_loss": "progressive log loss"}


def machine() -> dict[str, Any]:
    """Return a description of this machine and its present load."""
    names = _lines_of("/proc/cpuinfo", "model name") or [platform.processor() or platform.machine()]
    memory = _lines_of("/proc/meminfo", "MemTotal")
    return {
        "processor": names[0],
        "n_cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "memory_bytes": int(memory[0].split()[0]) * 1024 if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _lines_of(path: str, name: str) -> list[str]:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return []
    return [line.partition(":")[2].strip() for line in lines if line.startswith(name)]


def commit() -> str:
    """Return the commit that was measured, marked as dirty if files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


def save(name: str, content: Mapping[str, Any], *, folder: Path = RESULTS) -> Path:
    """Write a result with machine, commit and date to ``<name>.json`` and return its path."""
    head = {"machine": machine(), "commit": commit()}
    head["measured_utc"] = datetime.now(UTC).isoformat(timespec="seconds")
    path = folder / f"{name}.json"
    write_atomic(path, compact(json.dumps(head | dict(content), indent=1)) + "\n")
    return path


def compact(text: str) -> str:
    """Return indented JSON with every innermost list and object on one line.

    >>> print(compact(json.dumps({"a": [1, 2], "b": {"c": 3}}, indent=1)))
    {
     "a": [1, 2],
     "b": {"c": 3}
    }
    """
    innermost = re.compile(r"([\[{])\s*\n\s*([^\[\]{}]*?)\s*\n\s*([\]}])")
    return innermost.sub(lambda m: m[1] + re.sub(r",\n\s*", ", ", m[2]) + m[3], text)


def show_contestants(console: Console, records: Mapping[str, Record], *, title: str) -> None:
    """Print one row per contestant: medians of its runs, and its prediction quality."""
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.caption = "rows/s, s, CPU s and peak memory: from input to trained model, without start-up; process: everything"
    table.add_column("contestant")
    for heading in (
        "rows/s",
        "s",
        "CPU s",
        "process s",
        "peak MiB",
        "log loss",
        "AUC",
        "progressive",
    ):
        table.add_column(heading, justify="right")
    for key, record in records.items():
        progressive = record.quality.get("progressive_log_loss")
        table.add_row(
            _LABELS[key],
            f"{record.median('rows_per_s'):,.0f}",
            f"{record.median('wall_s'):.3f}",
            f"{record.median('cpu_s'):.3f}",
            f"{record.median('process_wall_s'):.2f}",
            f"{record.median('peak_rss_bytes') / 2**20:,.0f}",
            f"{record.quality['log_loss']:.5f}",
            f"{record.quality['roc_auc']:.5f}",
            "" if progressive is None else f"{progressive:.5f}",
        )
    console.print(table)


def show_outcomes(console: Console, found: Sequence[Outcome]) -> None:
    """Print one row per target."""
    table = Table(title="Ours / theirs, rows per second", title_justify="left")
    for heading in ("ours", "theirs"):
        table.add_column(heading)
    for heading in ("target", "measured", "range"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for outcome in found:
        target = outcome.target
        table.add_row(
            _LABELS[target.ours],
            _LABELS[target.theirs],
            f"{target.ratio:g}",
            f"{outcome.ratio:.1f}",
            f"{outcome.low:.1f} to {outcome.high:.1f}",
            _verdict(outcome),
        )
    console.print(table)


def _verdict(outcome: Outcome) -> str:
    if outcome.is_reached:
        return "[green]ok[/green]"
    problems = [] if outcome.ratio >= outcome.target.ratio else ["below target"]
    problems += [f"higher {_QUALITIES[name]}" for name in outcome.worse]
    return f"[red]{', '.join(problems)}[/red]"
