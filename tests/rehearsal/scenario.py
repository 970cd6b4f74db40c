"""What a scenario is, and the list of them all."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.rehearsal.house import House


@dataclass(frozen=True)
class Scenario:
    """One row of the closing table.

    Attributes
    ----------
    name
        What `SCENARIO=` takes.
    shows
        The sentence of the table.
    simulated
        What in it is not as on AWS.
    by_processes
        What besides is not, where containers are processes.
    is_short
        Whether it is in the short set, which CI runs.
    play
        Plays it, and returns what was seen; NotShown if it was not.
    """

    name: str
    shows: str
    simulated: str
    by_processes: str
    is_short: bool
    play: Callable[[House], str]


PIPELINE: list[Scenario] = []
"""The pipeline's scenarios, in the order they are played."""


def scenario(
    shows: str, *, simulated: str = "", by_processes: str = "", is_short: bool = False
) -> Callable[[Callable[[House], str]], Callable[[House], str]]:
    """Put a function into the list under its own name."""

    def put(play: Callable[[House], str]) -> Callable[[House], str]:
        name = play.__name__.replace("_", "-")
        PIPELINE.append(Scenario(name, shows, simulated, by_processes, is_short, play))
        return play

    return put
