"""The closing report: which steps passed, how long each took, and what in it was simulated."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from tasks.errors import ClicklabError
from tests.rehearsal.scenario import Scenario

_CAPTION = (
    "{containers} Simulated throughout: AWS's own answers (moto). Every task, the state machine and the schedule use their role's "
    "credentials, but no policy is evaluated. moto cannot redrive an execution: a resumed run is a new one."
)
_PROCESSES = "Containers are processes of this machine: no image is built, no network is closed, processors are not limited."
_PODMAN = (
    "Containers are podman's, of the built images {names}, with the task's processor and memory as cgroup limits; a layer over "
    "the image holds the rehearsal's knobs and faults, or the run's Bento. They use this machine's network; nothing is pushed or "
    "pulled; MLflow's container is started by the rehearsal, not by ECS."
)


@dataclass(frozen=True)
class Result:
    """One row: what the step shows, whether it passed, its duration, what was observed, what differs from AWS."""

    title: str
    passed: bool
    seconds: float
    observed: str
    simulated: str = ""


def run_step(title: str, play: Callable[[], str], *, simulated: str = "") -> Result:
    """Return the result of a step; what it raises becomes a failed row."""
    since = time.monotonic()
    try:
        observed, passed = play(), True
    except ClicklabError as error:
        observed, passed = str(error), False
    except Exception as error:  # the other rows are still worth printing
        observed, passed = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}", False
    return Result(title, passed, time.monotonic() - since, observed, simulated)


def play_scenario(one: Scenario, target: Any, *, by_processes: bool) -> Result:
    """Return the result of a scenario, played in a deployment whose containers may be processes."""
    simulated = "; ".join(filter(None, [one.simulated, one.by_processes if by_processes else ""]))
    return run_step(f"{one.name}: {one.title}", lambda: one.play(target), simulated=simulated)


def closing_table(results: Sequence[Result], seconds: float, images: Collection[str] = ()) -> Table:
    """Return the report as a table; `images` are those the containers ran, none if they were processes."""
    n_passed = sum(result.passed for result in results)
    containers = _PODMAN.format(names=", ".join(images)) if images else _PROCESSES
    table = Table(
        title=f"Rehearsal: {n_passed} of {len(results)} passed in {seconds // 60:.0f} min {seconds % 60:.0f} s",
        caption=_CAPTION.format(containers=containers),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        leading=1,
        expand=True,
    )
    table.add_column("passed")
    table.add_column("s", justify="right")
    table.add_column("step, and what was observed", ratio=2)
    table.add_column("simulated in it", ratio=1)
    for result in results:
        mark = "[green]yes[/]" if result.passed else "[bold red]NO[/]"
        text = f"[bold]{escape(result.title)}[/]\n{escape(result.observed)}"
        table.add_row(mark, f"{result.seconds:.0f}", text, escape(result.simulated) or "-")
    return table
