"""Scenarios: what they are, how they check what they observe and wait for it, and the report that they end in."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from rich import box
from rich.markup import escape
from rich.table import Table

from tasks.errors import ClicklabError

if TYPE_CHECKING:
    from tests.rehearsal.deployment import Deployment

WAIT_LIMIT_S = 900.0
_CAPTION = (
    "Containers are processes of this machine: no image is built, no network is closed, processors are not limited. Simulated "
    "throughout: AWS's own answers (moto). Every task, the state machine and the schedule use their role's credentials, but no "
    "policy is evaluated. moto cannot redrive an execution: a resumed run is a new one."
)
Found = TypeVar("Found")
Play = Callable[["Deployment"], str]


class ScenarioError(ClicklabError):
    """A scenario did not show what it promises."""


@dataclass(frozen=True)
class Scenario:
    """One row of the report.

    Attributes
    ----------
    name
        What `SCENARIO=` takes.
    title
        What it shows, as the report says it.
    simulated
        What in it differs from AWS.
    is_short
        Whether it is in the short set, which CI runs.
    play
        Plays it in a deployment and returns what was observed; ScenarioError if it was not as promised.
    """

    name: str
    title: str
    simulated: str
    is_short: bool
    play: Play


def scenario(
    into: list[Scenario], title: str, *, simulated: str = "", is_short: bool = False
) -> Callable[[Play], Play]:
    """Add the decorated function to a list of scenarios, under its own name."""

    def add(play: Play) -> Play:
        name = play.__name__.replace("_", "-")
        into.append(Scenario(name, title, simulated, is_short, play))
        return play

    return add


def check(condition: bool, expected: str) -> None:
    """Raise ScenarioError unless the condition holds."""
    if not condition:
        raise ScenarioError(f"expected {expected}")


def wait_for(
    find: Callable[[], Found | None], what: str, *, limit_s: float = WAIT_LIMIT_S
) -> Found:
    """Return what `find` returns once it is neither None nor False; ScenarioError after the time limit."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = find()
        if found is not None and found is not False:
            return found
        time.sleep(0.3)
    raise ScenarioError(f"waited {limit_s:.0f} s for {what}")


# ---- the report


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


def closing_table(results: Sequence[Result], seconds: float) -> Table:
    """Return the report as a table."""
    n_passed = sum(result.passed for result in results)
    table = Table(
        title=f"Rehearsal: {n_passed} of {len(results)} passed in {seconds // 60:.0f} min {seconds % 60:.0f} s",
        caption=_CAPTION,
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
