"""The command that frees the disk."""

from pathlib import Path
from typing import Annotated

import typer

from tasks.cli_app import app, print_pairs, readable_errors


@app.command()
def gc(
    yes: Annotated[bool, typer.Option(help="remove what is shown")] = False,
    env: Annotated[Path, typer.Option(help="the file of knobs")] = Path("env.yaml"),
) -> None:
    """Show what nothing uses any more, with its bytes; remove it with --yes."""
    with readable_errors():
        from tasks.knobs.reading import read_env
        from tasks.retention.collection import removable, remove

        knobs = read_env(env, ask_models=False)
        found = removable(knobs)
        print_pairs([(f"{one.n_bytes:>15,} bytes", f"{one.kind} {one.name}") for one in found])
        if not found:
            typer.echo("Nothing can go; `keep` in env.yaml says what stays.")
        elif yes:
            freed = remove(knobs, found, tell=lambda line: typer.echo(line, err=True))
            typer.echo(f"{freed:,} bytes are free now.")
        else:
            total = sum(one.n_bytes for one in found)
            typer.echo(f"{total:,} bytes in all; nothing was removed: `make gc YES=1` does")
