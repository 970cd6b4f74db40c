"""How much of what AWS limits a deployment needs, from its variables and the pipeline's sizes."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from infra.state_machine.dag import Task, read_tasks
from infra.state_machine.sizes import Size, Sizes, read_sizes
from tasks.pipeline.knobs import read_env

ENV = "env.aws.yaml"
_UNITS = 1024  # Fargate's units of a processor

Variables = Mapping[str, Any]


def fargate_vcpus(variables: Variables, *, spot: bool = False, env: str = ENV) -> float:
    """Return the processors that run at once at most, on demand or on spot capacity.

    On demand: the service's both colours at their most, MLflow, and the widest level of the pipeline, since
    a task that was interrupted is run again on demand.
    """
    pipeline = _widest_level(env)
    if spot:
        return pipeline / _UNITS if read_env(Path(env)).get("aws", {}).get("spot", True) else 0.0
    service = variables["service_size"]["cpu"] * variables["service_tasks"]["max"]
    both_colours = 2 * service if variables["serving"] else 0
    tracking = variables["tracking_size"]["cpu"] * variables["tracking_size"]["tasks"]
    return (pipeline + both_colours + (tracking if variables["tracking"] else 0)) / _UNITS


def containers_of_a_run(env: str = ENV) -> Counter[Size]:
    """Return how many containers of each size a run of all tasks starts, each at its first attempt.

    Raises
    ------
    ConfigError
        If the pipeline or its section ``aws`` cannot be read.
    """
    tasks, sizes = _read(env)
    found: Counter[Size] = Counter()
    for task in tasks:  # a task that is sharded has a container of its own besides
        n_shards = sizes.shards.get(task.name, 1)
        found[sizes.by_task[task.name]] += 1 + (n_shards if n_shards > 1 else 0)
    return found


def _widest_level(env: str) -> int:
    """Return the units of the level of the DAG that needs most; shards count, they run side by side."""
    tasks, sizes = _read(env)
    levels: dict[int, int] = defaultdict(int)
    for task in tasks:
        levels[task.level] += sizes.by_task[task.name].cpu * sizes.shards.get(task.name, 1)
    return max(levels.values())


@cache
def _read(env: str) -> tuple[list[Task], Sizes]:
    """Return the pipeline's tasks and sizes; kept, as Ploomber takes a second to load them."""
    tasks = read_tasks(env)
    return tasks, read_sizes(read_env(Path(env)), [task.name for task in tasks])


def interface_endpoints(variables: Variables) -> int:
    """Return how many interface endpoints the network has."""
    return len(variables["interface_endpoints"])


def needs_public_address(variables: Variables) -> bool:
    """Return whether a NAT gateway is made, which takes an Elastic IP."""
    return bool(variables["internet_access"])
