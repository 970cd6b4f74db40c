"""The commands for what the pipeline and its models are made of."""

import time
from pathlib import Path
from typing import Annotated

import typer

from tasks.cli_app import app, print_pairs, readable_errors, show_outcome
from tasks.errors import ConfigError

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
        print_pairs(lines_of(found))


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

        if not run:
            raise ConfigError("no run is named; say RUN= (an MLflow run, or a model's version)")
        knobs = read_env(env)
        found = find_model(knobs, run=run)
        folder = project_root() / knobs["products"] / "replay" / found.run.info.run_id[:12]
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


@app.command()
def promote(
    notebook: Annotated[str, typer.Argument(help="notebook with the idea")] = "",
    as_: Annotated[str, typer.Option("--as", help="another name for it")] = "",
    after: Annotated[str, typer.Option(help="for a step: a task before it")] = "",
    minutes: Annotated[float, typer.Option(min=0.01, help="that a run of it may take")] = 5.0,
    memory_gb: Annotated[float, typer.Option(min=0.5, help="memory that it may take")] = 4.0,
    force: Annotated[str, typer.Option(help="a model to serve against the gates")] = "",
    why: Annotated[str, typer.Option(help="the reason for that, for the ledger")] = "",
    env: _ENV = Path("env.yaml"),
) -> None:
    """Make a notebook's idea part of the project: a feature, a model or a step; or a refused model the champion."""
    if force:
        _force(force, why, env, notebook)
        return
    with readable_errors():
        from tasks.ideas.kernel_run import Limits
        from tasks.ideas.promotion import Faulty
        from tasks.ideas.promotion import promote as promote_notebook
        from tasks.pipeline.build import readable_exit

        if not notebook:
            raise ConfigError(
                "no notebook is named; say NB=notebooks/scratch/my_idea.ipynb "
                '(or FORCE=name WHY="..." to serve a model that the gates refused)'
            )
        limits = Limits(minutes, memory_gb)
        with readable_exit():
            try:
                done = promote_notebook(notebook, name=as_, after=after, limits=limits, tell=_tell)
            except Faulty as error:
                for line in error.faults:
                    _tell(line)
                raise
        typer.echo(done.diff)
        typer.echo(
            f"\n{done.name} is a {done.kind} of the project now. `make run` uses it, `make demote NAME={done.name}` takes it out."
        )


def _force(model: str, why: str, env: Path, notebook: str) -> None:
    """Make a model champion against the gates; then package it, and show the table."""
    started = time.monotonic()
    with readable_errors():
        from tasks.knobs.reading import read_env
        from tasks.promote import force as make_champion

        if notebook:
            raise ConfigError("NB= promotes an idea, FORCE= a model; name one of them")
        knobs = read_env(env, ask_models=False)
        products = Path(knobs["products"])
        version = make_champion(
            products / "evaluation.json",
            knobs["mlflow"],
            model,
            why=why,
            product=products / "promotion.json",
        )
        _tell(f"{model} is version {version} and champion now; packaging it ...")
    from tasks.pipeline.build import build, readable_exit

    with readable_exit():
        show_outcome(build(env), env, started=started)


@app.command()
def demote(
    name: Annotated[str, typer.Argument(help="what was promoted")],
    force: Annotated[bool, typer.Option(help="also if it was changed by hand since")] = False,
) -> None:
    """Take out what a promotion wrote."""
    with readable_errors():
        from tasks.ideas.promotion import demote as take_out

        if not name:
            raise ConfigError(
                "nothing is named; say NAME=, notebooks/promoted.json lists what was promoted"
            )
        done = take_out(name, force=force)
        typer.echo(done.diff)
        for line in done.left:
            _tell(f"left where it is, because it was changed by hand: {line}")
        typer.echo(f"\n{name} is out; git has it, if it was committed.")


def _tell(line: str) -> None:
    typer.echo(line, err=True)
