"""Log loss against processor time, on simulated logs and, where CLICKLAB_REAL_LOG names it, the first hour of a real one."""

import argparse
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import report
from bench.peers import peers_python
from bench.quality.contestants import CONTESTANTS
from bench.quality.figure import draw
from bench.quality.jobs import jobs_of, work
from bench.quality.tables import quality_table, summary
from bench.throughput import run_command
from tasks.simulation.shapes import SHAPES

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; return the exit code."""
    options = _parse(arguments)
    return run_command(lambda console: run(options, console))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description=__doc__)
    parser.add_argument("--rows", type=int, default=60_000, help="rows of each simulated log")
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8], help="a world each")
    parser.add_argument("--folds", type=int, default=5, help="of the real log")
    parser.add_argument("--real", type=Path, default=os.environ.get("CLICKLAB_REAL_LOG"), help="a log of the schema avazu; default: $CLICKLAB_REAL_LOG")  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--jobs", type=int, default=2, help="logs at a time, each on one core")
    parser.add_argument("--no-save", action="store_true", help="do not write to bench/results")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, console: Console) -> None:
    """Judge every contestant on every fold, print the tables, and save them with the figure."""
    jobs = jobs_of(options)
    with console.status("peers' environment"):
        peers_python()
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))  # read by the processes that are started
    context = multiprocessing.get_context("spawn")
    found: list[dict[str, Any]] = []
    with ProcessPoolExecutor(options.jobs, context, max_tasks_per_child=1) as pool:
        running = [pool.submit(work, job, options.only) for job in jobs]
        for number, done in enumerate(as_completed(running), start=1):
            found += done.result()
            console.print(f"{number} of {len(jobs)}: {found[-1]['log']}, {found[-1]['fold']}", highlight=False)  # fmt: skip
    summaries = summary(found, order=options.only)
    console.print(quality_table(summaries), markup=False, soft_wrap=True)
    if not options.no_save:
        names = ("rows", "shapes", "seeds", "folds")
        content = {name: getattr(options, name) for name in names} | {"summary": summaries, "found": found}  # fmt: skip
        path = report.save("quality", content)
        draw(summaries, path.with_suffix(".svg"))
        console.print(f"saved as {path.relative_to(report.ROOT)}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
