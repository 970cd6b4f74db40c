"""The command line that the commands of :mod:`tasks.cli`, :mod:`tasks.cli_ideas` and :mod:`tasks.cli_release` belong to."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


def show_outcome(outcome: Any, env: Path, *, started: float) -> None:
    """Print the table of a build, or what failed and the models as far as they were compared; exit if it failed.

    `outcome` is what :func:`tasks.pipeline.build.build` returned, `started` when the command began (monotonic seconds).
    """
    from tasks.pipeline.build import tell
    from tasks.report import AFTER_EVALUATE, render_comparison, render_report

    if not outcome.failures:
        seconds = time.monotonic() - started
        render_report(outcome.report_path, n_ran=outcome.n_ran, seconds=seconds, env=env)
        return
    if {failure.task for failure in outcome.failures} <= AFTER_EVALUATE:
        render_comparison(outcome.report_path.parent, env=env)
    raise typer.Exit(tell(outcome.failures))


@contextmanager
def told_after(
    env: Path, *, verb: str, data: str | None = None, started: float
) -> Iterator[list[Any]]:
    """Send the notice of a run once the block has shown its result; a notice that fails is said, and changes nothing.

    The block adds what failed to the list that it gets; what it raises is a failure too, but for a stop. `verb` and `data` make
    the command that resumes.
    """
    from tasks.notices.telling import tell_after

    failures: list[Any] = []
    try:
        yield failures
    except Exception as error:
        if not isinstance(error, typer.Exit):
            from tasks.pipeline.executor import describe_failure

            failures += getattr(error, "failures", None) or [describe_failure(verb, error)]
        if failures:
            tell_after(failures, env, verb=verb, data=data, seconds=0.0)
        raise
    tell_after(failures, env, verb=verb, data=data, seconds=time.monotonic() - started)


def print_pairs(lines: list[tuple[str, str]]) -> None:
    """Print a label and a text per line; long texts continue below themselves."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for label, text in lines:
        table.add_row(Text(label), Text(text))
    Console(soft_wrap=False).print(table)
