"""The knobs of a rehearsal: those of ``env.aws.yaml`` with the sizes of ``env.tiny.yaml``, so that a run takes a minute."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tasks.pipeline.knobs import read_env

_TINY = ("data", "hash", "models", "training", "evaluation", "gates", "split", "checks")
MEMORY_MB = 2048


def rehearsal_env(repository: Path, **changes: Any) -> dict[str, Any]:
    """Return the knobs; `changes` replace whole sections."""
    env = read_env(repository / "env.aws.yaml")
    tiny = read_env(repository / "env.tiny.yaml")
    env |= {name: tiny[name] for name in _TINY}
    env["models"] = _stored_below(env["models"], str(env["products"]))
    env["aws"] = {
        **env["aws"],
        "default_size": {"cpu": 1024, "memory_mb": MEMORY_MB},
        "sizes": {},
        "shards": {"hash_features": 2},
    }
    return env | changes


def _stored_below(models: Mapping[str, Any], products: str) -> dict[str, Any]:
    """Return models whose searches are kept below the products, where a container keeps what is to last."""
    found = copy.deepcopy(dict(models))
    for name, model in found.items():
        if "storage" in model.get("search", {}):
            place = f"sqlite:///{products}/checkpoints/{name}/optuna.db"
            model["search"]["storage"] = place
    return found


def as_file(env: Mapping[str, Any]) -> dict[str, str]:
    """Return the knobs as the file that containers read."""
    return {"env.aws.yaml": yaml.safe_dump(dict(env), sort_keys=False)}
