"""Time and memory against rows: ``python -m bench.scale``; 1, 4, 16 and 40 million simulated rows."""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import report
from bench.data import FOLDER, require_disk
from bench.process import run_child
from bench.scale_stages import STAGES
from bench.throughput import DEFAULT_BITS, run_command
from tasks.errors import ConfigError

MILLIONS = (1.0, 4.0, 16.0, 40.0)
BYTES_PER_ROW = 250  # log, what ingest holds besides, and hashed rows
MAX_PEAK_BYTES = 1.5 * 2**30
MIN_SPEED = 0.8  # of the smallest log's rows per second
_TIMEOUT_S = (180.0, 60.0)  # for start-up, and per million rows


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--millions", type=float, nargs="+", default=MILLIONS, help="log sizes")
    parser.add_argument("--bits", type=int, default=DEFAULT_BITS, help="2^bits weights")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the logs go for a while")
    parser.add_argument("--no-save", action="store_true", help="leave bench/results as it is")
    options = parser.parse_args(arguments)
    return run_command(lambda console: run(options, console))


def run(options: argparse.Namespace, console: Console) -> None:
    """Measure every size, print and save what was found."""
    sizes = sorted(round(millions * 1e6) for millions in options.millions)
    if sizes[0] < 10_000:
        raise ConfigError(
            f"a log of {sizes[0]:,} rows says nothing about scale; 10,000 are the least"
        )
    require_disk(options.folder, sizes[-1] * BYTES_PER_ROW)
    with console.status("") as status:
        found = {
            n_rows: measure(options.folder, n_rows, options.bits, lambda text: status.update(text))
            for n_rows in sizes
        }
    console.print(_table(found))
    if not options.no_save:
        from bench.scale_figure import draw

        path = report.save("scale", {"bits": options.bits, "sizes": found})
        draw(found, path.with_suffix(".svg"))
        console.print(
            f"saved as {path.relative_to(report.ROOT)} and {path.stem}.svg", highlight=False
        )


def measure(folder: Path, n_rows: int, bits: int, tell: Any) -> dict[str, dict[str, Any]]:
    """Return what each stage cost for one size; the files are gone afterwards."""
    place = folder / f"scale-{n_rows}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    timeout_s = _TIMEOUT_S[0] + _TIMEOUT_S[1] * n_rows / 1e6
    found = {}
    try:
        for stage in STAGES:
            tell(f"{n_rows:,} rows: {stage}")
            found[stage] = _run_stage(stage, place, n_rows, bits, timeout_s)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return found


def _run_stage(stage: str, place: Path, n_rows: int, bits: int, timeout_s: float) -> dict[str, Any]:
    result = place / f"{stage}.json"
    command = [sys.executable, "-m", "bench.scale_stages", stage, "--folder", str(place)]
    command += ["--rows", str(n_rows), "--bits", str(bits), "--result", str(result)]
    whole = run_child(command, name=f"{stage} of {n_rows:,} rows", timeout_s=timeout_s)
    found = json.loads(result.read_text())
    disk_bytes = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    return found | {
        "rows_per_s": found["n_rows"] / found["wall_s"],
        "process_wall_s": whole.wall_s,
        "process_cpu_s": whole.cpu_s,
        "disk_bytes": disk_bytes,
    }


def _table(found: dict[int, dict[str, dict[str, Any]]]) -> Table:
    """Return one row a size and stage, held against the smallest size."""
    table = Table(title="Time and memory against rows", title_justify="left")
    for heading in ("rows", "stage"):
        table.add_column(heading)
    for heading in ("s", "rows/s", "of the smallest's", "peak MiB", "disk MB", "log loss"):
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
    short = ["memory"] if peak_bytes >= MAX_PEAK_BYTES else []
    short += ["slower"] if speed < MIN_SPEED else []
    return f"[red]{', '.join(short)}[/red]" if short else "[green]ok[/green]"


if __name__ == "__main__":
    sys.exit(main())
