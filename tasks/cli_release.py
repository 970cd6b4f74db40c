"""Commands about a model and its release: published, taken back; a file scored with it, an answer of it explained."""

from pathlib import Path
from typing import Annotated

import typer

from tasks.cli_app import app, print_pairs, readable_errors
from tasks.errors import ConfigError

_ENV = Annotated[Path, typer.Option(help="the file of knobs")]


@app.command()
def score(
    data: Annotated[str, typer.Argument(help="rows in any form that `run` reads, with or without clicks")],
    out: Annotated[Path, typer.Argument(help="file to write: .csv, .csv.gz or .parquet")],
    model: Annotated[str, typer.Option(help="a folder, or name@alias or name/version; else the champion")] = "",
    kaggle: Annotated[bool, typer.Option(help="name the probability like the label")] = False,
    env: _ENV = Path("env.yaml"),
) -> None:  # fmt: skip
    """Write the click probability of every row of a file."""
    with readable_errors():
        from tasks.knobs.reading import read_env
        from tasks.provenance.models import open_model
        from tasks.schema import load_schema
        from tasks.serving.file_scoring import score_file

        knobs = read_env(env, ask_models=False)
        schema = load_schema(knobs["schema"])
        with open_model(knobs, model, schema) as scoring:
            done = score_file(
                scoring,
                data,
                out,
                schema=schema,
                kaggle=kaggle,
                max_bad_share=knobs["ingest"]["max_bad_share"],
            )
            name = f"{scoring.name}, version {scoring.version}"
        for note in done.notes:
            typer.echo(note, err=True)
        if done.rejected:
            typer.echo(f"{done.n_rejected:,} rows without a probability: {done.rejected}", err=True)
        typer.echo(f"{done.out}: {done.n_rows:,} rows by {name}, mean {done.mean:.4f}")


@app.command()
def audit(
    request: Annotated[str, typer.Argument(help="id of the request, as the answer holds it")],
    exposures: Annotated[str, typer.Option(help="the exposure log: folder, file or s3://")] = "",
    env: _ENV = Path("env.yaml"),
) -> None:
    """Explain an answer of the service, and compute it again; exit 1 if the numbers differ."""
    with readable_errors():
        from tasks.knobs.reading import read_env
        from tasks.provenance.audit import audit as explain

        if not request or not exposures:
            lost = "REQUEST=" if not request else "EXPOSURES="
            raise ConfigError(
                f"{lost} is not given; make audit REQUEST=id EXPOSURES=folder (`exposures.sink` of the service)"
            )
        found = explain(read_env(env, ask_models=False), request, exposures)
        print_pairs(found.lines)
        if found.agrees is False:
            raise typer.Exit(1)


@app.command()
def publish(
    pointer: Annotated[str, typer.Argument(help="pointer that services follow: path or s3://")],
    folder: Annotated[
        Path | None, typer.Option(help="model folder with golden rows; else the champion's")
    ] = None,
    env: Annotated[Path, typer.Option(help="the file of knobs")] = Path("env.yaml"),
) -> None:
    """Publish a model; services that follow the pointer load it."""
    with readable_errors():
        from tasks.knobs.reading import read_env
        from tasks.registry.mlflow_store import registered_name
        from tasks.registry.publish import publish_alias, publish_model
        from tasks.schema import load_schema

        if not pointer:
            raise ConfigError("no pointer is named; set POINTER=path/champion.json or s3://...")
        if folder is not None:
            now = publish_model(folder, pointer)
        else:
            knobs = read_env(env, ask_models=False)
            name = registered_name(load_schema(knobs["schema"]))
            now = publish_alias(knobs["mlflow"]["tracking_uri"], name, pointer)
        typer.echo(f"{pointer} names version {now.version}")


@app.command()
def rollback(
    pointer: Annotated[str, typer.Argument(help="pointer that services follow: path or s3://")],
    to: Annotated[str | None, typer.Option(help="version; by default the previous one")] = None,
) -> None:
    """Point services to an earlier version again."""
    with readable_errors():
        from tasks.registry.publish import roll_back

        now = roll_back(pointer, to=to)
        typer.echo(f"{pointer} names version {now.version}")
