"""MLflow as this project uses it: one registered model per log, two aliases.

Model files are ordinary run artifacts (arrays and JSON, never a pickle); a registered version points at
them. Aliases name the models that serve now, the ledger (:mod:`tasks.registry.ledger`) those before.
Runs are written by :mod:`tasks.registry.recording`.
"""

import json
import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError, InputError, UnavailableError
from tasks.logs.origin import origin_of, slug
from tasks.registry.mlflow_client import ReadableClient, reason_of, unavailable
from tasks.schema import Schema
from tasks.storage.availability import is_temporary
from tasks.storage.locks import sqlite_lock
from tasks.storage.workspace import resolve_store

CHAMPION, CHALLENGER = "champion", "challenger"
ORIGIN = "clicklab.origin"  # tag of runs and versions: where their rows came from
MODEL_PATH = "model"  # where a run keeps its model


@dataclass(frozen=True)
class RegisteredModel:
    """A version in the registry and a local copy of its files."""

    name: str
    registry_version: str
    run_id: str
    folder: Path
    origin: str | None = None  # where its rows came from; None for a version of an older release


def connect(tracking_uri: str) -> Any:
    """Return an ``MlflowClient`` on a store that exists and is migrated.

    A SQLite store is created on first use, behind a lock, because two processes migrating one file
    at once leave it broken.

    Raises
    ------
    ConfigError
        If the address is not one MLflow can open.
    UnavailableError
        If the server, or the database, is temporarily unavailable; each call of the client may raise it, too.
    """
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    warnings.filterwarnings("ignore", message="IProgress not found")  # no progress bars wanted
    import mlflow
    from mlflow.exceptions import MlflowException

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    uri = resolve_store(os.environ.get("MLFLOW_TRACKING_URI") or tracking_uri)
    try:
        with sqlite_lock(uri):
            mlflow.set_tracking_uri(uri)
            mlflow.set_registry_uri(uri)
            client = ReadableClient(mlflow.MlflowClient(uri), uri)
            client.search_experiments(max_results=1)
    except UnavailableError:
        raise
    except Exception as error:
        if is_temporary(error):
            raise unavailable(uri, error) from None
        of_the_database = type(error).__module__.startswith("sqlalchemy")
        is_full = "disk is full" in str(error)  # the executor reports a full disk in its own words
        if is_full or not (of_the_database or isinstance(error, MlflowException | OSError)):
            raise
        raise ConfigError(
            f"MLflow at {uri!r} cannot be used ({reason_of(error)}); see `mlflow.tracking_uri` in env.yaml"
        ) from None
    return client


def add_to_model(client: Any, run_id: str, name: str, text: str) -> None:
    """Store a file beside the model of a run, unless a file of that name exists."""
    path = f"{MODEL_PATH}/{name}"
    if path not in [file.path for file in client.list_artifacts(run_id, MODEL_PATH)]:
        client.log_text(run_id, text, path)


def registered_name(schema: Schema) -> str:
    """Return the name in the registry: one registered model per log."""
    return f"ctr-{schema.name}"


def experiment_name(experiment: str, origin: str | None) -> str:
    """Return the experiment for rows of one origin: losses on different data are not comparable.

    Examples
    --------
    >>> experiment_name("ctr", "sim://avazu")
    'ctr-sim-avazu'
    """
    return f"{experiment}-{slug(origin)}" if origin else experiment


def register(client: Any, name: str, run_id: str, *, tags: Mapping[str, str]) -> str:
    """Register the model of a run and return its version number; registering a run again returns the same one."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    for version in client.search_model_versions(f"name='{name}'"):
        if version.run_id == run_id:
            return str(version.version)
    source = f"{client.get_run(run_id).info.artifact_uri}/{MODEL_PATH}"
    version = client.create_model_version(name, source, run_id=run_id, tags=dict(tags))
    return str(version.version)


def set_alias(client: Any, name: str, alias: str, version: str | None) -> None:
    """Point `alias` at a version, or remove it if None."""
    if version is None:
        if alias in dict(client.get_registered_model(name).aliases):
            client.delete_registered_model_alias(name, alias)
    else:
        client.set_registered_model_alias(name, alias, version)


def find_alias(client: Any, name: str, alias: str, *, folder: str | Path) -> RegisteredModel | None:
    """Return the version behind an alias, its files downloaded below `folder`; None if there is none.

    Raises
    ------
    InputError
        If the alias exists but its files are gone.
    """
    from mlflow.exceptions import MlflowException

    try:
        version = client.get_model_version_by_alias(name, alias)
    except MlflowException:
        return None
    target = Path(folder) / f"{name}-{version.version}"
    target.mkdir(parents=True, exist_ok=True)
    try:
        local = client.download_artifacts(version.run_id, MODEL_PATH, str(target))
    except (MlflowException, OSError) as error:
        raise InputError(
            f"the files of {name} version {version.version} ({alias}) cannot be read ({reason_of(error)}); "
            f"restore them or remove the alias {alias!r}"
        ) from None
    return RegisteredModel(
        name, str(version.version), version.run_id, Path(local), _origin(client, version)
    )


def _origin(client: Any, version: Any) -> str | None:
    """Return where a version's rows came from: its tag, else what its run recorded as its data."""
    from mlflow.exceptions import MlflowException

    if tagged := version.tags.get(ORIGIN):
        return str(tagged)
    try:
        inputs = client.get_run(version.run_id).inputs.dataset_inputs
        return origin_of(json.loads(inputs[0].dataset.source)["uri"]) if inputs else None
    except (MlflowException, ValueError, KeyError, TypeError):
        return None
