"""The service's fleet for a day, simulated from measured figures: ``python -m bench.fleet``; docs/scale.md."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import report
from bench.fleet.costs import Load, Prices, monthly_usd
from bench.fleet.figure import draw
from bench.fleet.measured import CALLS, Worker, read_worker
from bench.fleet.request_bytes import FORMATS, measure_bytes
from bench.fleet.scenarios import (
    RATES,
    SHIPPED_PER_S,
    SHIPPED_TASKS,
    UTILISATIONS,
    assumptions,
    highest_allowed,
    sensitivity,
    steady_state,
    sweep,
)
from bench.fleet.traffic import mean_over_peak
from bench.throughput import run_command
from tasks.errors import ConfigError

_HEAD_BYTES = 200  # of a request; its body is measured, and of the response both
_PRICED = 0.4  # the target whose fleets are priced
_LIMITS = {"cores": 64, "seeds": 100}


def main(arguments: list[str] | None = None) -> int:
    """Run the simulation; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    parser.add_argument("--call", choices=list(CALLS), default="/rank", help="what is requested")
    parser.add_argument("--cores", type=int, default=1, help="of a task, one worker each")
    parser.add_argument("--seeds", type=int, default=8, help="simulated days of each fleet")
    parser.add_argument("--bytes", action="store_true", help="measure bytes anew (a minute)")
    parser.add_argument("--no-save", action="store_true", help="do not write to bench/results")
    options = parser.parse_args(arguments)
    return run_command(lambda console: run(options, console))


def run(options: argparse.Namespace, console: Console) -> None:
    """Simulate every fleet, print and save the results."""
    for name, most in _LIMITS.items():
        if not 1 <= getattr(options, name) <= most:
            raise ConfigError(f"--{name} must be from 1 to {most}, not {getattr(options, name)}")
    worker = read_worker(options.call)
    sizes = _bytes(anew=options.bytes)
    found = simulate_all(worker, n_cores=options.cores, n_seeds=options.seeds)
    found["usd_per_month"] = {
        f"{record['peak_per_s']:.0f}": _costs(record, worker, sizes, n_cores=options.cores)
        for record in found["fleets"]
        if record["utilisation"] == _PRICED
    }
    for table in (_fleets(found["fleets"], "Target of scaling"), _fleets(found["as_shipped"], "As shipped: 30,000 per minute and task, 2 to 6 tasks"), _cases(found["sensitivity"])):  # fmt: skip
        console.print(table)
    if not options.no_save:
        path = report.save("fleet", found | {"bytes_per_request": sizes})
        draw(found, path.with_suffix(".svg"))
        console.print(f"saved as {path.relative_to(report.ROOT)} and {path.stem}.svg", highlight=False)  # fmt: skip


def simulate_all(worker: Worker, *, n_cores: int, n_seeds: int) -> dict[str, Any]:
    """Return fleets by rate and target, the shipped settings, other assumptions, and waiting in a steady state."""
    task_per_s = n_cores * worker.requests_per_s
    fleets = sweep(RATES, UTILISATIONS, task_per_s=task_per_s, n_seeds=n_seeds)
    shipped = sweep(
        RATES[:3],
        [SHIPPED_PER_S / task_per_s],
        task_per_s=task_per_s,
        n_seeds=n_seeds,
        tasks=SHIPPED_TASKS,
    )
    return {
        "call": worker.call,
        "n_cores": n_cores,
        "n_seeds": n_seeds,
        "worker": {
            "requests_per_s": worker.requests_per_s,
            "cpu_us": worker.cpu_us,
            "squared_cv": worker.squared_cv,
            "memory_bytes": worker.memory_bytes,
        },
        "assumed": assumptions() | {"mean_over_peak": mean_over_peak()},
        "fleets": fleets,
        "highest_target": {
            name: highest_allowed(fleets, name) for name in ("calm_share", "lost_share")
        },
        "as_shipped": shipped,
        "sensitivity": sensitivity(task_per_s=task_per_s, n_seeds=n_seeds),
        "steady_state": steady_state(worker),
    }


def _bytes(*, anew: bool) -> dict[str, dict[str, float]]:
    """Return measured bytes per request, those of the saved result unless asked otherwise."""
    path = report.RESULTS / "fleet.json"
    if not anew and path.exists():
        saved: dict[str, dict[str, float]] = json.loads(path.read_text())["bytes_per_request"]
        return saved
    return measure_bytes(n_rows=50_000, n_requests=2_000)


def _costs(
    record: Mapping[str, Any],
    worker: Worker,
    sizes: Mapping[str, Mapping[str, float]],
    *,
    n_cores: int,
) -> dict[str, dict[str, float]]:
    """Return dollars per month by item, for each format of the exposure log."""
    size = sizes[worker.call]
    found = {}
    for name in FORMATS:
        load = Load(
            mean_per_s=record["peak_per_s"] * mean_over_peak(),
            request_bytes=size["body"] + _HEAD_BYTES,
            response_bytes=worker.response_bytes,
            exposure_bytes=size[name],
            task_hours=record["task_hours"],
        )
        found[name] = monthly_usd(load, Prices(), vcpu=n_cores, memory_gb=2 * n_cores)
    return found


def _fleets(records: Sequence[Mapping[str, Any]], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("peak/s", "target", "tasks at peak", "reserve", "busy", "task hours", "dropped or late", "more after a loss", "unreachable"):  # fmt: skip
        table.add_column(heading, justify="right")
    for one in records:
        table.add_row(f"{one['peak_per_s']:,.0f}", f"{one['utilisation']:.0%}", f"{one['tasks_at_peak']:,.0f}", f"{one['reserve']:+.0%}", f"{one['busy']:.0%}", f"{one['task_hours']:,.0f}", *_shares(one))  # fmt: skip
    return table


def _cases(cases: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(title="Other assumptions, 100,000/s, target 50%", title_justify="left")
    for heading in ("", "dropped or late", "more after a loss", "unreachable"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, one in cases.items():
        table.add_row(name, *_shares(one))
    return table


def _shares(one: Mapping[str, Any]) -> list[str]:
    return [f"{one[name]:.3%}" for name in ("calm_share", "lost_share", "unreachable_share")]


if __name__ == "__main__":
    sys.exit(main())
