"""The section ``aws`` of ``env.aws.yaml``: how large each task's container is, how long it may take, what is sharded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.errors import ConfigError

MEMORY_MB: Mapping[int, Sequence[int]] = {
    256: (512, 1024, 2048),
    512: range(1024, 4096 + 1, 1024),
    1024: range(2048, 8192 + 1, 1024),
    2048: range(4096, 16384 + 1, 1024),
    4096: range(8192, 30720 + 1, 1024),
    8192: range(16384, 61440 + 1, 4096),
    16384: range(32768, 122880 + 1, 8192),
}
"""The pairs that Fargate offers: memory in MiB by CPU units (1024 are one core)."""

SHARDED = "hash_features"
_DISK_GB = range(21, 201)
_KEYS = {
    "default_size",
    "sizes",
    "time_limit_minutes",
    "shards",
    "attempts",
    "attempts_unavailable",
    "spot",
}
_SIZE_KEYS = {"cpu", "memory_mb", "disk_gb"}


@dataclass(frozen=True)
class Size:
    """CPU units, memory and, where more than the task definition's is wanted, disk of a container."""

    cpu: int
    memory_mb: int
    disk_gb: int | None = None


@dataclass(frozen=True)
class Sizes:
    """The section, checked: a size and a time limit for each task, how many shards, how many attempts."""

    by_task: Mapping[str, Size]
    time_limit_s: Mapping[str, int]
    shards: Mapping[str, int]
    attempts: int
    attempts_unavailable: int
    spot: bool


def read_sizes(env: Mapping[str, Any], tasks: Sequence[str]) -> Sizes:
    """Return the section of an env for these tasks.

    Raises
    ------
    ConfigError
        If it is not there, or names an unknown task or key, or a pair that Fargate does not have.
    """
    section = env.get("aws")
    if not isinstance(section, Mapping):
        raise ConfigError("the env file has no section `aws`; take env.aws.yaml as an example")
    _known(section, _KEYS, "aws")
    default = _size(section.get("default_size", {"cpu": 1024, "memory_mb": 4096}), "default_size")
    sizes = _by_task(section, "sizes", tasks)
    limits = dict(section.get("time_limit_minutes") or {})
    usual = _count(limits.pop("default", 60), "time_limit_minutes.default", 1, 10_000)
    _known(limits, set(tasks), "aws.time_limit_minutes", "task")
    shards = _by_task(section, "shards", tasks)
    for name in shards:
        if name != SHARDED:
            raise ConfigError(f"aws.shards: only {SHARDED} can be sharded, not {name!r}")
    return Sizes(
        {name: _size(sizes[name], f"sizes.{name}") if name in sizes else default for name in tasks},
        {
            name: 60 * _count(limits.get(name, usual), f"time_limit_minutes.{name}", 1, 10_000)
            for name in tasks
        },
        {name: _count(n, f"shards.{name}", 1, 40) for name, n in shards.items()},
        _count(section.get("attempts", 2), "attempts", 1, 10),
        _count(section.get("attempts_unavailable", 5), "attempts_unavailable", 1, 10),
        _flag(section.get("spot", True), "spot"),
    )


def _by_task(section: Mapping[str, Any], key: str, tasks: Sequence[str]) -> Mapping[str, Any]:
    found = section.get(key) or {}
    if not isinstance(found, Mapping):
        raise ConfigError(f"aws.{key} must map tasks to values, found {found!r}")
    _known(found, set(tasks), f"aws.{key}", "task")
    return found


def _known(found: Mapping[str, Any], known: set[str], where: str, what: str = "key") -> None:
    for name in found:
        if name not in known:
            raise ConfigError(
                f"{where}: unknown {what} {name!r}; known are {', '.join(sorted(known))}"
            )


def _size(found: Any, where: str) -> Size:
    if not isinstance(found, Mapping) or not {"cpu", "memory_mb"} <= set(found):
        raise ConfigError(f"aws.{where} must be {{cpu: ..., memory_mb: ...}}, found {found!r}")
    _known(found, _SIZE_KEYS, f"aws.{where}")
    cpu, memory_mb, disk_gb = found["cpu"], found["memory_mb"], found.get("disk_gb")
    if not isinstance(cpu, int) or cpu not in MEMORY_MB:
        raise ConfigError(
            f"aws.{where}: Fargate has no {cpu!r} CPU units; it has {', '.join(map(str, MEMORY_MB))}"
        )
    if memory_mb not in MEMORY_MB[cpu]:
        raise ConfigError(
            f"aws.{where}: {cpu} CPU units do not go with {memory_mb!r} MiB; Fargate allows {_listed(MEMORY_MB[cpu])}"
        )
    if disk_gb is not None and disk_gb not in _DISK_GB:
        raise ConfigError(f"aws.{where}: disk_gb must be 21 to 200, found {disk_gb!r}")
    return Size(cpu, memory_mb, disk_gb)


def _listed(values: Sequence[int]) -> str:
    if len(values) <= 4:
        return ", ".join(map(str, values))
    return f"{values[0]} to {values[-1]} in steps of {values[1] - values[0]}"


def _count(value: Any, where: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigError(f"aws.{where} must be an integer from {low} to {high}, found {value!r}")
    return value


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"aws.{where} must be true or false, found {value!r}")
    return value
