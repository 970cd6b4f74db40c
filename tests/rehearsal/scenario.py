"""What a scenario is, how it checks what it observes, and how it waits."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from tasks.errors import ClicklabError

WAIT_LIMIT_S = 900.0
Found = TypeVar("Found")
Play = Callable[[Any], str]


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
    by_processes
        What else does, where containers are processes.
    is_short
        Whether it is in the short set, which CI runs.
    play
        Plays it in a deployment and returns what was observed; ScenarioError if it was not as promised.
    """

    name: str
    title: str
    simulated: str
    by_processes: str
    is_short: bool
    play: Play


def scenario(
    into: list[Scenario],
    title: str,
    *,
    simulated: str = "",
    by_processes: str = "",
    is_short: bool = False,
) -> Callable[[Play], Play]:
    """Add the decorated function to a list of scenarios, under its own name."""

    def add(play: Play) -> Play:
        name = play.__name__.replace("_", "-")
        into.append(Scenario(name, title, simulated, by_processes, is_short, play))
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
