"""The command line that the commands of :mod:`tasks.cli` and :mod:`tasks.cli_ideas` belong to."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from tasks.errors import ClicklabError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The commands behind the Makefile's verbs; a known error is one line and a non-zero exit.",
)


@contextmanager
def readable_errors() -> Iterator[None]:
    """Print a known error as one line and exit with its code."""
    try:
        yield
    except ClicklabError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
