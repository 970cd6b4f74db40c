"""The knobs of a run: ``env.yaml``, and files such as ``env.tiny.yaml`` that hold only what differs from it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tasks.errors import ConfigError

BASE = "env.yaml"
ALLOW_OTHER_DATA = (
    "ALLOW_OTHER_DATA"  # environment variable: one run may replace a champion of other data
)


def read_env(path: str | Path, *, data: str | None = None) -> dict[str, Any]:
    """Return the knobs of an env file, laid over the ``env.yaml`` beside it.

    Parameters
    ----------
    path
        ``env.yaml`` itself, or a file of differences.
    data
        Another log than the one the file names.

    Raises
    ------
    ConfigError
        If a file is missing, is not YAML, or is not a mapping.
    """
    path = Path(path)
    base = path.parent / BASE
    env = _read(path)
    if path.name != BASE and base.is_file():
        env = overlay(_read(base), env)
    if data:  # the name in the file belongs to the data in the file
        env = env | {"data": data, "origin": None}
    if os.environ.get(ALLOW_OTHER_DATA, "") not in ("", "0"):
        env = overlay(env, {"gates": {"allow_other_data": True}})
    return env


def overlay(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the keys of `changes` replaced, in sections one by one.

    Two levels deep and no further: ``gates: {min_slice_rows: 500}`` keeps the other gates, while
    ``models: {sgd: {...}}`` replaces the whole block of that model.

    Examples
    --------
    >>> overlay({"seed": 7, "hash": {"bits": 20, "batch_rows": 65536}}, {"hash": {"bits": 16}})
    {'seed': 7, 'hash': {'bits': 16, 'batch_rows': 65536}}
    """
    merged = dict(base)
    for name, value in changes.items():
        before = merged.get(name)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        merged[name] = {**before, **value} if both else value  # type: ignore[dict-item]
    return merged


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(
            f"{path} not found; run this in the folder that holds env.yaml, or name the file with --env"
        )
    try:
        env = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(env, dict):
        raise ConfigError(f"{path}: expected a mapping of knobs, found {type(env).__name__}")
    return env
