"""The pipeline as a graph, read from Ploomber: names and what each needs, nothing else."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError
from tasks.knobs.reading import read_env
from tasks.pipeline.build import load_dag

TRAIN = "train-"
MAX_NAME = 60  # the 80 characters of an execution's or a stream's name, with room for what is added
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{MAX_NAME - 1}}}")


@dataclass(frozen=True)
class Task:
    """A task and the tasks it needs; ``level`` 0 needs none, others lie one above the highest they need."""

    name: str
    upstream: tuple[str, ...]
    level: int


def read_tasks(env_path: str | Path) -> list[Task]:
    """Return the pipeline's tasks with these knobs, by level, in the order of ``pipeline.yaml`` within one.

    Raises
    ------
    ConfigError
        If the pipeline cannot be loaded, or is one that no state machine expresses.
    """
    return order(read_needs(read_env(env_path)))


def read_needs(env: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return for each task the tasks it needs, as Ploomber understands them."""
    try:
        dag = load_dag(env)
        return {name: tuple(dag[name].upstream) for name in dag}
    except Exception as error:
        reason = " ".join(str(error).split())[:500]
        raise ConfigError(f"pipeline.yaml cannot be loaded: {reason}") from None


def order(needs: dict[str, tuple[str, ...]]) -> list[Task]:
    """Return tasks by level; ConfigError for an odd name, an unknown task, or a circle."""
    for name in needs:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"task {name!r}: a state machine needs names of letters, digits and _ . - that begin with a "
                f"letter or digit, {MAX_NAME} characters maximum; rename it in pipeline.yaml"
            )
    _refuse_twins(needs)
    levels: dict[str, int] = {}
    for name in needs:
        _level(name, needs, levels, ())
    tasks = [Task(name, needs[name], levels[name]) for name in needs]
    return sorted(tasks, key=lambda task: task.level)


def _refuse_twins(needs: dict[str, tuple[str, ...]]) -> None:
    """Names that differ by case alone are one file on some disks and one line to most eyes."""
    seen: dict[str, str] = {}
    for name in needs:
        twin = seen.setdefault(name.casefold(), name)
        if twin != name:
            raise ConfigError(
                f"tasks {twin!r} and {name!r} become one name; rename one in pipeline.yaml"
            )


def _level(
    name: str, needs: dict[str, tuple[str, ...]], levels: dict[str, int], path: tuple[str, ...]
) -> int:
    if name in path:
        circle = " -> ".join([*path[path.index(name) :], name])
        raise ConfigError(f"the tasks form a cycle ({circle}); fix pipeline.yaml")
    if name not in needs:
        raise ConfigError(f"task {path[-1]!r} needs {name!r}, which pipeline.yaml does not have")
    if name not in levels:
        above = [_level(one, needs, levels, (*path, name)) for one in needs[name]]
        levels[name] = max(above, default=-1) + 1
    return levels[name]


def models_of(names: list[str]) -> list[str]:
    """Return the models that a run may be limited to: what follows ``train-`` in a task's name.

    Examples
    --------
    >>> models_of(["ingest", "train-ftrl", "train-fm"])
    ['ftrl', 'fm']
    """
    return [name.removeprefix(TRAIN) for name in names if name.startswith(TRAIN)]
