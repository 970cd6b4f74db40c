"""The commands behind the Makefile's verbs; a known error is one line and a non-zero exit."""

import logging
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

import tasks.cli_disk
import tasks.cli_ideas
import tasks.cli_monitor
import tasks.cli_release  # noqa: F401  the commands of all belong to `app`
from tasks.cli_app import app, readable_errors, show_outcome, told_after
from tasks.errors import ClicklabError, ConfigError


@app.command()
def run(
    data: Annotated[
        str | None, typer.Option(help="log to read instead of the one in env.yaml")
    ] = None,
    env: Annotated[Path, typer.Option(help="the file of knobs")] = Path("env.yaml"),
    force: Annotated[bool, typer.Option(help="run every task again")] = False,
) -> None:
    """Build the pipeline, show progress, and print the table of results."""
    started = time.monotonic()
    typer.echo("Loading the pipeline ...", err=True)
    from tasks.pipeline.build import build, readable_exit

    with readable_exit(), told_after(env, verb="run", data=data, started=started) as failures:
        outcome = build(env, data=data, force=force)
        failures += outcome.failures
        show_outcome(outcome, env, started=started)


@app.command()
def doctor() -> None:
    """Check the installed versions that are known to break each other, and print the fix."""
    from tasks.pipeline.doctor import examine

    findings = examine()
    for finding in findings:
        typer.echo(finding.line)
    if any(not finding.ok for finding in findings):
        raise typer.Exit(1)


@app.command()
def add(
    package: Annotated[str, typer.Argument(help="name, with a range if it matters")],
    compile: Annotated[str, typer.Option(help="command that resolves pyproject.toml")],
    why: Annotated[str, typer.Option(help="what it is for, for ARCHITECTURE.md")] = "",
) -> None:
    """Add a package to pyproject.toml and requirements.lock without moving another one."""
    with readable_errors():
        from tasks.pipeline.dependencies import add_package

        for line in add_package(package, Path.cwd(), compile_command=compile, why=why):
            typer.echo(line)


@app.command()
def parameters() -> None:
    """Write the values of env.yaml into the `parameters` cells of the pipeline's notebooks."""
    with readable_errors():
        from tasks.jupyter.contents_manager import write_parameters

        for name in write_parameters(Path.cwd()):
            typer.echo(f"{name}: parameters as in env.yaml")


@app.command()
def knobs() -> None:
    """Print every knob of env.yaml with its domain, as docs/knobs.md shows it."""
    from tasks.knobs.domain import page

    typer.echo(page(), nl=False)


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="CSV to write; .gz compresses")],
    rows: Annotated[int, typer.Option(min=1)] = 400_000,
    seed: Annotated[int, typer.Option()] = 7,
) -> None:
    """Write an Avazu-shaped log as Kaggle's CSV."""
    with readable_errors():
        from tasks.simulation.simulate import write_csv

        write_csv(out, rows, seed=seed)
        typer.echo(f"wrote {rows:,} rows to {out}")


@app.command()
def schema(
    data: Annotated[str, typer.Argument(help="log to look at, in any form that `run` reads")],
    out: Annotated[str, typer.Option(help="YAML to write; else in tasks/schemas")] = "",
    label: Annotated[str | None, typer.Option(help="the column of clicks")] = None,
    force: Annotated[bool, typer.Option(help="overwrite what is there")] = False,
) -> None:
    """Look at a log, and write a first schema for it with its reasons, to be edited."""
    with readable_errors():
        from tasks.logs.inference.writing import write_first_schema

        for line in write_first_schema(data, out=out, label=label, force=force):
            typer.echo(line)


@app.command()
def ledger(
    env: Annotated[Path, typer.Option(help="the file of knobs")] = Path("env.yaml"),
    accept: Annotated[bool, typer.Option(help="go on with a ledger that lost its end")] = False,
) -> None:
    """Show every promotion decision, oldest first."""
    with readable_errors():
        from tasks.knobs.reading import read_env
        from tasks.registry.anchor import read_with_knobs
        from tasks.registry.ledger import ledger_place
        from tasks.registry.mlflow_store import registered_name
        from tasks.schema import load_schema

        knobs = read_env(env, ask_models=False)
        name = registered_name(load_schema(knobs["schema"]))
        entries = read_with_knobs(knobs["mlflow"], name, accept=accept)
        if not entries:
            place = ledger_place(knobs["mlflow"]["ledger"])
            typer.echo(f"{place}: no decision yet; `make run` makes the first", err=True)
        for entry in entries:
            reasons = "; ".join(entry.get("reasons", []))
            if "why" in entry:
                against = f"against the gates: {reasons or 'none'}"
                reasons = f"by {entry['by']}: {entry['why']}; {against}"
            typer.echo(
                f"{entry['time_utc']}  {entry['decision']:<9} {entry['model']:<12} {entry['version'] or '-'}  {reasons}"
            )


@app.command()
def predict(
    url: Annotated[str, typer.Option(help="where the service listens")] = "http://127.0.0.1:3000",
    env: Annotated[Path, typer.Option(help="the file of knobs")] = Path("env.yaml"),
) -> None:
    """Send the schema's example impression to a running service; print request and answer."""
    import json
    from urllib.error import URLError
    from urllib.request import Request, urlopen

    with readable_errors():
        from tasks.knobs.reading import read_env
        from tasks.schema import load_schema

        row = load_schema(read_env(env, ask_models=False)["schema"]).example_row()
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"--url must begin with http:// or https://, found {url!r}")
        request = Request(
            f"{url}/predict", json.dumps(row).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urlopen(request, timeout=10) as answer:
                body = answer.read().decode()
        except URLError as error:
            raise ConfigError(
                f"no answer from {url} ({error.reason}); start it with `make serve`"
            ) from None
        typer.echo(json.dumps(row))
        typer.echo(body)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on")] = 3000,
    env: Annotated[Path, typer.Option(help="the file of knobs")] = Path("env.yaml"),
) -> None:
    """Serve the Bento that the pipeline packaged."""
    with readable_errors():
        from tasks.knobs.reading import read_env
        from tasks.serving.bento_store import serve as serve_bento

        serve_bento(read_env(env, ask_models=False), host=host, port=port)


@app.command()
def prove(env: Annotated[Path, typer.Option(help="the file of knobs")] = Path("env.yaml")) -> None:
    """Prove the packaged model again: notebook, artifact, Bento and live endpoint give the same numbers."""
    with readable_errors():
        from rich.console import Console

        from tasks.knobs.reading import read_env
        from tasks.serving.proof import prove_products

        prove_products(read_env(env, ask_models=False), console=Console())


@app.command()
def backtest(
    days: Annotated[int, typer.Option(min=1, help="days to predict, the last ones")] = 5,
    windows: Annotated[str, typer.Option(help="days to learn, besides all")] = "3,6",
    model: Annotated[str, typer.Option(help="whose parameters; the best one's by default")] = "",
    env: Annotated[Path, typer.Option(help="the file of knobs")] = Path("env.yaml"),
) -> None:
    """Show what training anew, on fewer days, or going on would have been worth on the last days of the log."""
    with readable_errors():
        from tasks.knobs.reading import read_env
        from tasks.training.backtest import backtest as run
        from tasks.training.backtest import days_of

        run(read_env(env), n_days=days, windows=days_of(windows), model=model, tell=typer.echo)


@app.command()
def ui(
    env: Annotated[Path, typer.Option(help="the file of knobs")] = Path("env.yaml"),
    store: Annotated[str, typer.Option(envvar="STORE", help="a team's database")] = "",
    artifacts: Annotated[str, typer.Option(envvar="ARTIFACTS", help="where its files lie")] = "",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
) -> None:
    """Start MLflow's page on the store, and print its address."""
    with readable_errors():
        from tasks.knobs.reading import read_env
        from tasks.registry.ui import prepare_page

        page = prepare_page(
            read_env(env, ask_models=False), store=store, artifacts=artifacts, port=port
        )
        typer.echo(f"MLflow: {page.address}", err=True)
        os.execve(page.command[0], page.command, os.environ | page.environment)


@app.command()
def migrate(
    to: Annotated[str, typer.Option(envvar="TO", help="the team's database of MLflow")] = "",
    artifacts: Annotated[str, typer.Option(envvar="ARTIFACTS", help="its server's files")] = "",
    studies: Annotated[str, typer.Option(envvar="STUDIES", help="the database of Optuna")] = "",
    ledger: Annotated[str, typer.Option(envvar="LEDGER", help="path or s3:// address")] = "",
    from_: Annotated[str, typer.Option("--from", envvar="FROM", help="sqlite:///path")] = "",
    env: Annotated[Path, typer.Option(help="the file of knobs")] = Path("env.yaml"),
) -> None:
    """Copy the local store to a team's and print what was counted on both sides."""
    with readable_errors():
        from rich import box
        from rich.console import Console
        from rich.table import Table

        from tasks.knobs.reading import read_env
        from tasks.registry.migration import migrate as migration

        source = migration.source_place(read_env(env, ask_models=False), from_)
        target = migration.target_place(to, artifacts, studies, ledger)
        counted = migration.migrate(source, target)
        table = Table("", "here", "there", box=box.SIMPLE)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in migration.rows_of(counted):
            table.add_row(*row)
        Console().print(table)
        if not migration.is_complete(counted):
            raise ClicklabError("the copy is not complete; run the same command again")
        typer.echo(migration.next_steps(target))


def main() -> None:
    """Run the command line with readable logging."""
    logging.basicConfig(
        level=os.environ.get("CLICKLAB_LOG", "WARNING"), stream=sys.stderr, format="%(message)s"
    )
    app()


if __name__ == "__main__":
    main()
