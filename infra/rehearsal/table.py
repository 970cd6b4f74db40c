"""The closing table: what was shown, how long it took, and what in it was simulated."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table

from tasks.errors import ClicklabError

CAPTION = (
    "Simulated throughout: AWS's own answers (moto). Containers are processes of this machine with the task role's "
    "credentials: no image is built, no network is closed, processors are not shared out. Of rights, actions and S3's "
    "resources are checked, conditions are not. Redriving an execution is not in moto: what is resumed is begun again."
)


@dataclass(frozen=True)
class Row:
    """One line: what it is to show, whether it did, how long it took, what was seen, what is not as on AWS."""

    shows: str
    is_shown: bool
    seconds: float
    seen: str
    simulated: str


def timed(shows: str, play: Callable[[], str], *, simulated: str = "") -> Row:
    """Return the row of what `play` did; what it raises is told in it."""
    since = time.monotonic()
    try:
        seen, is_shown = play(), True
    except ClicklabError as error:
        seen, is_shown = str(error), False
    except Exception as error:  # a table with one bad row says more than a traceback alone
        seen, is_shown = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}", False
    return Row(shows, is_shown, time.monotonic() - since, seen, simulated)


def closing_table(rows: Sequence[Row], seconds: float) -> Table:
    """Return the table."""
    table = Table(
        title=f"Rehearsal: {seconds:.0f} s",
        caption=CAPTION,
        title_justify="left",
        caption_justify="left",
        show_lines=True,
    )
    table.add_column("what")
    table.add_column("shown")
    table.add_column("s", justify="right")
    table.add_column("seen")
    table.add_column("real or simulated")
    for row in rows:
        shown = "[green]yes[/]" if row.is_shown else "[red]NO[/]"
        kind = f"simulated: {row.simulated}" if row.simulated else "real processes"
        table.add_row(row.shows, shown, f"{row.seconds:.0f}", _plain(row.seen), kind)
    return table


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
