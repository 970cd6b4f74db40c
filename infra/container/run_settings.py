"""Settings of a container, read from its environment: run, log, task and shard."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError
from tasks.knobs.reading import read_env


@dataclass(frozen=True)
class RunSettings:
    """One attempt at one task of one run; ``shard`` is None for the task itself."""

    task: str
    run: str
    store: str
    env_path: str
    data: str = ""
    model: str = ""
    attempt: int = 1
    shard: int | None = None
    n_shards: int = 1

    @classmethod
    def read(cls, task: str, environment: Mapping[str, str] = os.environ) -> "RunSettings":
        """Return the settings of the environment; ConfigError names what is missing or invalid."""
        shard, n_shards = (_number(environment, f"CLICKLAB_SHARD{end}") for end in ("", "S"))
        if (shard is None) != (n_shards is None) or (
            shard is not None and n_shards is not None and not 0 <= shard < n_shards
        ):
            raise ConfigError(
                f"CLICKLAB_SHARD and CLICKLAB_SHARDS must be i and n with 0 <= i < n, found {shard} and {n_shards}"
            )
        return cls(
            task,
            run=_needed(environment, "CLICKLAB_RUN", "the run's id"),
            store=_needed(
                environment, "CLICKLAB_STORE", "where runs are stored, such as s3://bucket/runs"
            ),
            env_path=environment.get("CLICKLAB_ENV") or "env.aws.yaml",
            data=environment.get("CLICKLAB_DATA", ""),
            model=environment.get("CLICKLAB_MODEL", ""),
            attempt=_number(environment, "CLICKLAB_ATTEMPT") or 1,
            shard=shard,
            n_shards=n_shards or 1,
        )

    def knobs(self) -> dict[str, Any]:
        """Return the env file's knobs with this run's log; ConfigError if what is tracked would be lost with the container."""
        env = read_env(self.env_path, data=self.data or None)
        tracking = str(env.get("mlflow", {}).get("tracking_uri", ""))
        if tracking.startswith("sqlite:") and not os.environ.get("MLFLOW_TRACKING_URI"):
            raise ConfigError(
                "MLFLOW_TRACKING_URI is not set, and runs would be recorded on the container's own disk; "
                "set it to the tracking server's address"
            )
        return env

    def products(self, env: Mapping[str, Any]) -> Path:
        """Return the products folder on this disk."""
        return Path(str(env.get("products", "products"))).resolve()


def _needed(environment: Mapping[str, str], name: str, what: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise ConfigError(f"{name} is not set; it is {what}")
    return value


def _number(environment: Mapping[str, str], name: str) -> int | None:
    value = environment.get(name, "")
    if not value:
        return None
    if not value.isdecimal():
        raise ConfigError(f"{name} must be a whole number, found {value!r}")
    return int(value)
