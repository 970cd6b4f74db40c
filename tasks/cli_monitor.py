"""The commands about traffic that was served."""

import time
from pathlib import Path
from typing import Annotated

import typer

from tasks.cli_app import app, readable_errors, told_after
from tasks.errors import ConfigError, UnavailableError


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


@app.command()
def ab_test(
    exposures: Annotated[str, typer.Option(help="the exposure log; else monitor.exposures")] = "",
    clicks: Annotated[str, typer.Option(help="the click log; else monitor.clicks")] = "",
    experiment: Annotated[str, typer.Option(help="experiment.yaml; else ab_test.experiment")] = "",
    env: Annotated[Path, typer.Option(help="the file of knobs")] = Path("env.yaml"),
) -> None:
    """Compare the variants of an experiment and print the verdict."""
    with readable_errors():
        from tasks.knobs.reading import read_env
        from tasks.monitoring.ab_test.plan import Plan, declared_weights
        from tasks.monitoring.ab_test.record import read_readout
        from tasks.pipeline.notebook_run import run_notebook

        knobs = read_env(env, ask_models=False)
        plan, logs = knobs["ab_test"], dict(knobs["monitor"])
        logs |= {"exposures": exposures or logs["exposures"], "clicks": clicks or logs["clicks"]}
        if lost := [name for name in ("exposures", "clicks") if not logs[name]]:
            raise ConfigError(
                f"{lost[0].upper()}= is not given; make ab-test EXPOSURES=folder CLICKS=folder, or name both below "
                "`monitor` in env.yaml"
            )
        weights = declared_weights(experiment or plan["experiment"])
        Plan.from_knobs(plan, weights)  # refused before work is spent
        place = (Path(knobs["products"]) / "ab_test.json").resolve()
        names = ("exposures", "clicks", "now_utc", "attribution_hours", "clock_tolerance_s")
        given = {
            "logs": {name: logs[name] for name in names},
            "ab_test": plan,
            "weights": weights,
            "product": {"readout": str(place)},
        }
        page = run_notebook("notebooks/ab_test.ipynb", given, place.with_suffix(".ipynb"))
        typer.echo(read_readout(place).verdict)
        typer.echo(str(page))


def _simulated(env: Path) -> dict[str, str]:
    """Write traffic and return the knobs that read it."""
    from tasks.knobs.reading import read_env
    from tasks.monitoring.simulated import simulate_for

    with readable_errors():
        return simulate_for(read_env(env, ask_models=False))
