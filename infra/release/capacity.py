"""How many Fargate vCPUs a deployment can use at once, from its variables and the pipeline's sizes."""

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from infra.state_machine.dag import read_tasks
from infra.state_machine.sizes import read_sizes
from tasks.knobs.reading import read_env

ENV = "env.aws.yaml"
_UNITS_PER_VCPU = 1024


def on_demand_vcpus(variables: Mapping[str, Any]) -> float:
    """Return the maximum on demand: both colors of the service, MLflow, and the pipeline's widest level.

    The pipeline counts here as well, because an interrupted task is retried on demand.
    """
    service = variables["service_size"]["cpu"] * variables["service_tasks"]["max"]
    both_colors = 2 * service if variables["serving"] else 0
    tracking = variables["tracking_size"]["cpu"] * variables["tracking_size"]["tasks"]
    units = both_colors + (tracking if variables["tracking"] else 0)
    return units / _UNITS_PER_VCPU + _widest_level()


def spot_vcpus() -> float:
    """Return the maximum on spot capacity: the pipeline's widest level, 0 if it does not use spot."""
    return (
        _widest_level()
        if read_env(Path(ENV), ask_models=False).get("aws", {}).get("spot", True)
        else 0.0
    )


@cache
def _widest_level() -> float:
    """Return the vCPUs of the most demanding level of the DAG; shards of a task run side by side.

    Cached, because Ploomber takes a second to load a DAG.
    """
    tasks = read_tasks(ENV)
    sizes = read_sizes(read_env(Path(ENV), ask_models=False), [task.name for task in tasks])
    units: dict[int, int] = defaultdict(int)
    for task in tasks:
        units[task.level] += sizes.by_task[task.name].cpu * sizes.shards.get(task.name, 1)
    return max(units.values()) / _UNITS_PER_VCPU
