"""The commands for what the pipeline and its models are made of."""

from pathlib import Path
from typing import Annotated

import typer

from tasks.cli_app import app, readable_errors

_ENV = Annotated[Path, typer.Option(help="the file of knobs")]


@app.command()
def why(
    task: Annotated[str, typer.Option(help="one task; by default all")] = "",
    env: _ENV = Path("env.yaml"),
) -> None:
    """Say what makes tasks out of date; nothing is run."""
    with readable_errors():
        from tasks.knobs.reading import read_env
        from tasks.provenance.out_of_date import states

        found = states(read_env(env), only=task or None)
        for one in found:
            if one.reasons:
                typer.echo(f"{one.name} runs again:")
                for reason in one.reasons:
                    typer.echo(f"  {reason}")
            elif task and one.made_utc:
                typer.echo(f"{one.name} is up to date, made {one.made_utc:%Y-%m-%d %H:%M} UTC")
        if not task and not any(one.reasons for one in found):
            typer.echo("Nothing is out of date.")


@app.command()
def lineage(
    model: Annotated[str, typer.Option(help="name@alias or name/version in the registry")] = "",
    bento: Annotated[str, typer.Option(help="tag of a Bento of this project")] = "",
    version: Annotated[str, typer.Option(help="version in a model's files, 12 hex digits")] = "",
    run: Annotated[str, typer.Option(help="id of an MLflow run")] = "",
    env: _ENV = Path("env.yaml"),
) -> None:
    """Show what a model was made of: code, parameters, data, notebooks, packages, decisions."""
    with readable_errors():
        from tasks.knobs.reading import read_env
        from tasks.provenance.lineage import lineage as lines_of
        from tasks.provenance.models import find_model

        found = find_model(read_env(env), model=model, bento=bento, version=version, run=run)
        _print_pairs(lines_of(found))


def _print_pairs(lines: list[tuple[str, str]]) -> None:
    """Print a label and a text per line; long texts continue below themselves."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for label, text in lines:
        table.add_row(Text(label), Text(text))
    Console(soft_wrap=False).print(table)


@app.command()
def replay(
    run: Annotated[str, typer.Argument(help="id of an MLflow run, or a model's version")],
    keep: Annotated[bool, typer.Option(help="keep the folder even if all is equal")] = False,
    env: _ENV = Path("env.yaml"),
) -> None:
    """Train a model again at its commit, with its parameters and data, and say what differs."""
    with readable_errors():
        from tasks.knobs.reading import read_env
        from tasks.provenance import replay as again
        from tasks.provenance.models import find_model
        from tasks.storage.workspace import project_root

        knobs = read_env(env)
        found = find_model(knobs, run=run)
        folder = project_root() / knobs["products"] / "replay" / found.run.info.run_id[:12]
        again.remove_worktree(project_root(), folder)
        typer.echo(f"Training {found.version} again in {folder} ...", err=True)
        result = again.replay(found, folder)
        if result.differences:
            typer.echo(f"{found.version} differs from the model of the replay:")
        else:
            files = ", ".join(result.files)
            typer.echo(f"{found.version} is equal to the bit: {files}")
        for line in (*result.differences, *result.reasons):
            typer.echo(f"  {line}")
        if not result.differences and not keep:
            again.remove_worktree(project_root(), folder)
        else:
            typer.echo(f"kept: {folder} (git worktree remove --force removes it)")
        if result.differences:
            raise typer.Exit(1)
