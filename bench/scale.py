"""Time and memory against rows: ``python -m bench.scale``; 1, 4, 16 and 40 million simulated rows."""

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import report
from bench.data import FOLDER, require_disk
from bench.process import run_child
from bench.scale_figure import draw
from bench.scale_stages import STAGES
from bench.throughput import DEFAULT_BITS, run_command
from tasks.errors import ConfigError

MILLIONS = (1.0, 4.0, 16.0, 40.0)
BYTES_PER_ROW = 250  # log, temporary files of ingest, and features
MAX_PEAK_BYTES = 1.5 * 2**30
MIN_SPEED = 0.8  # of the smallest log's rows per second
_TIMEOUT_S = (180.0, 60.0)  # for start-up, and per million rows


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--millions", type=float, nargs="+", default=MILLIONS, help="log sizes")
    parser.add_argument("--bits", type=int, default=DEFAULT_BITS, help="2^bits weights")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="for temporary logs")
    parser.add_argument("--no-save", action="store_true", help="do not write to bench/results")
    options = parser.parse_args(arguments)
    return run_command(lambda console: run(options, console))


def run(options: argparse.Namespace, console: Console) -> None:
    """Measure every size, print and save the results."""
    sizes = sorted(round(millions * 1e6) for millions in options.millions)
    if sizes[0] < 10_000:
        raise ConfigError(f"a log of {sizes[0]:,} rows is too small; use at least 10,000")
    require_disk(options.folder, sizes[-1] * BYTES_PER_ROW)
    with console.status("") as status:
        found = {
            n_rows: measure(options.folder, n_rows, options.bits, status.update) for n_rows in sizes
        }
    console.print(_table(found))
    if not options.no_save:
        path = report.save("scale", {"bits": options.bits, "sizes": found})
        draw(found, path.with_suffix(".svg"), max_peak_bytes=MAX_PEAK_BYTES)
        console.print(
            f"saved as {path.relative_to(report.ROOT)} and {path.stem}.svg", highlight=False
        )


def measure(
    folder: Path, n_rows: int, bits: int, set_status: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Return the cost of each stage for one size; its files are removed afterwards."""
    work = folder / f"scale-{n_rows}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    timeout_s = _TIMEOUT_S[0] + _TIMEOUT_S[1] * n_rows / 1e6
    found = {}
    try:
        for stage in STAGES:
            set_status(f"{n_rows:,} rows: {stage}")
            found[stage] = _run_stage(stage, work, n_rows, bits, timeout_s)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return found


def _run_stage(stage: str, work: Path, n_rows: int, bits: int, timeout_s: float) -> dict[str, Any]:
    result = work / f"{stage}.json"
    command = [sys.executable, "-m", "bench.scale_stages", stage, "--folder", str(work)]
    command += ["--rows", str(n_rows), "--bits", str(bits), "--result", str(result)]
    cost = run_child(command, name=f"{stage} of {n_rows:,} rows", timeout_s=timeout_s)
    found = json.loads(result.read_text())
    disk_bytes = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
    return found | {
        "rows_per_s": found["n_rows"] / found["wall_s"],
        "process_wall_s": cost.wall_s,
        "process_cpu_s": cost.cpu_s,
        "disk_bytes": disk_bytes,
    }


def _table(found: dict[int, dict[str, dict[str, Any]]]) -> Table:
    """Return one row per size and stage, compared with the smallest size."""
    table = Table(title="Time and memory against rows", title_justify="left")
    for heading in ("rows", "stage"):
        table.add_column(heading)
    for heading in ("s", "rows/s", "of smallest", "peak MiB", "disk MB", "log loss"):
        table.add_column(heading, justify="right")
    table.add_column("")
    smallest = found[min(found)]
    for n_rows, stages in found.items():
        for stage, cost in stages.items():
            speed = cost["rows_per_s"] / smallest[stage]["rows_per_s"]
            loss = cost.get("log_loss", cost.get("progressive_log_loss"))
            table.add_row(
                f"{n_rows:,}" if stage == STAGES[0] else "",
                stage,
                f"{cost['wall_s']:.1f}",
                f"{cost['rows_per_s']:,.0f}",
                f"{speed:.0%}",
                f"{cost['peak_rss_bytes'] / 2**20:,.0f}",
                f"{cost['disk_bytes'] / 1e6:,.0f}",
                "" if loss is None else f"{loss:.5f}",
                _verdict(cost["peak_rss_bytes"], speed),
                end_section=stage == STAGES[-1],
            )
    return table


def _verdict(peak_bytes: float, speed: float) -> str:
    problems = ["memory"] if peak_bytes >= MAX_PEAK_BYTES else []
    problems += ["slower"] if speed < MIN_SPEED else []
    return f"[red]{', '.join(problems)}[/red]" if problems else "[green]ok[/green]"


if __name__ == "__main__":
    sys.exit(main())
