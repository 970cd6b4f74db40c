"""The plan of the state machine: the DAG's levels, each with its containers and what each of them needs."""

from collections.abc import Sequence
from typing import Any

from infra.state_machine.dag import TRAIN, Task, models_of, order
from infra.state_machine.retry import WAIT_S, exit_names
from infra.state_machine.sizes import Sizes
from tasks.errors import ConfigError

MAX_BYTES = (
    100_000  # a state's data is limited to 256 KiB; a failure's cause and the input need room too
)

Plan = dict[str, Any]


def make_plan(tasks: Sequence[Task], sizes: Sizes) -> Plan:
    """Return the plan of a DAG.

    A shard is a container of its own, which needs what its task needs and which its task needs: so shards
    get a level of their own before it.

    Raises
    ------
    ConfigError
        If the plan is larger than Step Functions takes.
    """
    needs: dict[str, tuple[str, ...]] = {}
    containers: dict[str, Plan] = {}
    for task in tasks:
        n_shards = sizes.shards.get(task.name, 1)
        shards = [f"{task.name}.shard-{i}" for i in range(n_shards if n_shards > 1 else 0)]
        for i, shard in enumerate(shards):
            needs[shard] = task.upstream
            containers[shard] = _container(task.name, sizes, shard=str(i), shards=str(n_shards))
        needs[task.name] = (*task.upstream, *shards)
        containers[task.name] = _container(task.name, sizes)
    levels: dict[int, list[Plan]] = {}
    for one in order(needs):
        levels.setdefault(one.level, []).append(containers[one.name])
    plan = {
        "models": models_of([task.name for task in tasks]),
        "defaults": _defaults(sizes),
        "levels": list(levels.values()),
    }
    size = len(str(plan))
    if size > MAX_BYTES:
        raise ConfigError(
            f"the plan of the state machine has {size:,} bytes, Step Functions takes {MAX_BYTES:,}; use fewer tasks"
        )
    return plan


def _container(name: str, sizes: Sizes, *, shard: str = "", shards: str = "") -> Plan:
    size = sizes.by_task[name]
    return {
        "name": name,
        "shard": shard,
        "shards": shards,
        "model": name.removeprefix(TRAIN) if name.startswith(TRAIN) else "",
        "cpu": str(size.cpu),
        "memory_mb": str(size.memory_mb),
        "time_limit_s": sizes.time_limit_s[name],
    } | ({} if size.disk_gb is None else {"disk_gb": size.disk_gb})


def _defaults(sizes: Sizes) -> Plan:
    """Return what an execution's input may replace."""
    return {
        "run": "",
        "data": "",
        "model": "",
        "done": [],
        "attempts": sizes.attempts,
        "attempts_unavailable": sizes.attempts_unavailable,
        "wait_s": WAIT_S,
        "capacity": "FARGATE_SPOT" if sizes.spot else "FARGATE",
        "exit_names": exit_names(),
    }
