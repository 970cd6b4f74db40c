"""The closing table: what was shown, how long it took, and what in it was simulated."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table

from tasks.errors import ClicklabError

_CAPTION = (
    "{containers} Simulated throughout: AWS's own answers (moto). Of rights, actions and S3's resources are checked, "
    "conditions are not. Redriving an execution is not in moto: what is resumed is begun again."
)
_PROCESSES = (
    "Containers are processes of this machine with the task role's credentials: no image is built, no network is closed, "
    "processors are not shared out."
)
_PODMAN = (
    "Containers are real: podman's, of the built images {names}, with the task role's credentials and the task's processor "
    "and memory as limits of their cgroups; over the image lies a layer with the rehearsal's knobs and faults, or the run's "
    "Bento. They are in this machine's network, so none is closed; nothing is pushed to a registry or pulled; MLflow's "
    "container is started by the rehearsal, not by ECS."
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


def closing_table(rows: Sequence[Row], seconds: float, images: Collection[str] = ()) -> Table:
    """Return the table: a step a row, under it what was seen; `images` are what containers were of, if not processes."""
    containers = _PODMAN.format(names=", ".join(images)) if images else _PROCESSES
    table = Table(
        title=_title(rows, seconds),
        caption=_CAPTION.format(containers=containers),
        title_justify="left",
        caption_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        leading=1,
        pad_edge=False,
        expand=True,
    )
    table.add_column("shown")
    table.add_column("s", justify="right")
    table.add_column("what, and what was seen", ratio=2)
    table.add_column("simulated in it", ratio=1)
    for row in rows:
        mark = "[green]yes[/]" if row.is_shown else "[bold red]NO[/]"
        text = f"[bold]{_plain(row.shows)}[/]\n{_plain(row.seen)}"
        table.add_row(mark, f"{row.seconds:.0f}", text, _plain(row.simulated) or "-")
    return table


def _title(rows: Sequence[Row], seconds: float) -> str:
    n_shown = sum(row.is_shown for row in rows)
    found = f"all {n_shown} shown" if n_shown == len(rows) else f"{n_shown} of {len(rows)} shown"
    return f"Rehearsal: {found} in {seconds // 60:.0f} min {seconds % 60:.0f} s"


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
