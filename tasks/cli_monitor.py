"""The commands about traffic that was served."""

import time
from pathlib import Path
from typing import Annotated

import typer

from tasks.cli_app import app, readable_errors, told_after
from tasks.errors import UnavailableError


@app.command()
def monitor(
    env: Annotated[Path, typer.Option(help="the file of knobs")] = Path("env.yaml"),
    simulate: Annotated[
        bool, typer.Option(help="serve the last days of a sim:// log first")
    ] = False,
) -> None:
    """Join clicks to exposures, judge quality and drift, and print what deserves attention."""
    started = time.monotonic()
    from tasks.monitoring.record import read_record
    from tasks.pipeline.build import build, readable_exit
    from tasks.pipeline.build import tell as print_failures

    with readable_exit(), told_after(env, verb="monitor", started=started) as failures:
        changes = _simulated(env) if simulate else None
        made = build(
            env, changes=changes, force=True, entry="pipeline.monitor.yaml", report="monitor.json"
        )
        failures += made.failures
        if made.failures:
            raise typer.Exit(print_failures(made.failures))
        record = read_record(made.report_path)
        for line in record.summary():
            typer.echo(line)
        typer.echo(f"{made.report_path.with_suffix('.html')}, {time.monotonic() - started:.0f} s")


@app.command()
def tell(env: Annotated[Path, typer.Option(help="the file of knobs")] = Path("env.yaml")) -> None:
    """Send what the last run and the last monitoring found; without an address, print it."""
    with readable_errors():
        from tasks.knobs.reading import read_env
        from tasks.notices.telling import tell_day

        problems = tell_day(read_env(env, ask_models=False), say=typer.echo)
        if problems:
            raise UnavailableError("; ".join(problems))


def _simulated(env: Path) -> dict[str, str]:
    """Write traffic and return the knobs that read it."""
    from tasks.knobs.reading import read_env
    from tasks.monitoring.simulated import simulate_for

    with readable_errors():
        return simulate_for(read_env(env, ask_models=False))
