"""Intake on a local cluster against its number of workers: ``python -m bench.cluster``; the log must be that of one process."""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from bench.data import prepare
from bench.throughput import run_command
from tasks.errors import ClicklabError
from tasks.ingest import ingest_log
from tasks.schema import load_schema


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="simulated rows")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="each in turn")
    parser.add_argument("--rounds", type=int, default=3, help="the quickest of so many counts")
    options = parser.parse_args(arguments)
    return run_command(lambda console: run(options, console))


def run(options: argparse.Namespace, console: Console) -> None:
    """Measure and print; ClicklabError if a log differs."""
    source = prepare(options.rows).folder / "train.csv"
    engines: dict[str, Any] = {"one process": "local"}
    engines |= {f"{n} workers": {"dask": {"workers": n}} for n in options.workers}
    found = {name: measure(source, engine, options.rounds) for name, engine in engines.items()}
    if len({digest for _, digest in found.values()}) > 1:
        raise ClicklabError("the logs differ; this is a defect")
    table = Table("engine", "s", "speed against the first cluster", title=f"{source}, {_machine()}")
    first = found[f"{options.workers[0]} workers"][0]
    for name, (seconds, _) in found.items():
        table.add_row(name, f"{seconds:.2f}", f"{first / seconds:.2f}")
    console.print(table)


def measure(source: Path, engine: Any, rounds: int) -> tuple[float, str]:
    """Return the seconds of the quickest of some rounds, without the start of the cluster, and the log's digest."""
    if engine == "local":
        return _quickest(source, engine, rounds)
    from tasks.cluster.engine import connect

    with connect(engine) as client:
        return _quickest(source, {"dask": {"address": client.scheduler.address}}, rounds)


def _quickest(source: Path, engine: Any, rounds: int) -> tuple[float, str]:
    """Return seconds and digest; a first round, in which workers load the library, does not count."""
    schema, seconds, digest = load_schema("avazu"), [], ""
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        for _ in range(rounds + 1):
            since = time.perf_counter()
            digest = ingest_log(str(source), Path(folder, "log"), schema=schema, engine=engine)[
                "digest"
            ]
            seconds.append(time.perf_counter() - since)
    return min(seconds[1:]), digest


def _machine() -> str:
    return f"{psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main())
