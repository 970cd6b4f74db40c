"""The tables of the serving bench."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.serving.contestants import LABELS
from bench.serving.rounds import Plan, Record
from bench.serving.targets import Outcome


def show_contestants(console: Console, records: Mapping[str, Record], plan: Plan) -> None:
    """Print one row per contestant: medians over the rounds."""
    title = (
        f"/predict, one worker each: {plan.n_connections} connections of wrk, "
        f"and {plan.rate:g} requests/s for {plan.paced_s:g} s"
    )
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.caption = (
        "CPU: processor time per request of all threads, at full load; ms: at the constant rate, from the time a request was due; "
        "late: p99 of how late the load generator sent; MiB: PSS of all processes"
    )
    table.add_column("contestant")
    for heading in (
        "requests/s",
        "CPU us",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "max ms",
        "late ms",
        "failed",
        "MiB",
    ):
        table.add_column(heading, justify="right")
    for key, record in records.items():
        times = [record.median("paced", f"{name}_ms") for name in ("p50", "p99", "p99_9", "max")]
        table.add_row(
            LABELS[key],
            f"{record.median('saturated', 'requests_per_s'):,.0f}",
            f"{record.median('saturated', 'cpu_us'):,.0f}",
            *(f"{value:,.2f}" for value in [*times, record.median("paced", "late_p99_ms")]),
            f"{sum(run['n_failed'] for run in record.paced):,}",
            f"{record.pss_bytes / 2**20:,.0f}",
        )
    console.print(table)


def show_outcomes(console: Console, found: Sequence[Outcome], *, title: str) -> None:
    """Print one row per target, ok or missed."""
    table = Table(title=title, title_justify="left")
    table.add_column("figure")
    for heading in ("target", "measured", "range"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for outcome in found:
        target = outcome.target
        table.add_row(
            target.label,
            _bound(outcome),
            format(outcome.value, target.form),
            f"{outcome.low:{target.form}} to {outcome.high:{target.form}}",
            _verdict(outcome),
        )
    console.print(table)


def _bound(outcome: Outcome) -> str:
    target = outcome.target
    if target.minimum is not None:
        return f">= {target.minimum:,g}"
    return "" if target.maximum is None else f"<= {target.maximum:,g}"


def _verdict(outcome: Outcome) -> str:
    if not _bound(outcome):
        return ""
    return "[green]ok[/green]" if outcome.is_reached else "[red]missed[/red]"


def show_steps(console: Console, steps: Mapping[str, float], *, title: str) -> None:
    """Print microseconds of processor time per step."""
    table = Table(title=title, title_justify="left")
    table.add_column("step")
    table.add_column("CPU us", justify="right")
    for name, value in steps.items():
        table.add_row(name, f"{value:,.1f}")
    console.print(table)


def soak_lines(found: Mapping[str, Any]) -> str:
    """Return the other figures of a soak in one sentence."""
    return (
        f"{found['n_requests']:,} requests in {found['minutes']:g} minutes at {found['rate']:g} requests/s, "
        f"p50 {found['p50_ms']:.2f} ms, p99 {found['p99_ms']:.2f} ms, p99.9 {found['p99_9_ms']:.2f} ms, "
        f"maximum {found['max_ms']:.1f} ms; {found['n_swaps']} swaps; "
        f"{found['n_on_disk']:,} exposures on disk after SIGTERM; "
        f"RSS {found['rss_bytes'][0] / 2**20:,.0f} MiB at a tenth, {found['rss_bytes'][1] / 2**20:,.0f} MiB at the end."
    )
