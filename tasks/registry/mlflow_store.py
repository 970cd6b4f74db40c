"""MLflow as this project uses it: one run per training, one registered model per log, two aliases.

Model files are ordinary run artifacts (arrays and JSON, never a pickle); a registered version
points at them. Aliases name what serves now, the ledger (:mod:`tasks.registry.ledger`) what served before.
"""

import hashlib
import logging
import os
import subprocess
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError, InputError, UnavailableError
from tasks.registry.mlflow_client import ReadableClient, reason_of, unavailable
from tasks.schema import Schema
from tasks.storage.availability import is_temporary
from tasks.storage.locks import sqlite_lock
from tasks.storage.workspace import resolve, resolve_store

CHAMPION, CHALLENGER = "champion", "challenger"
MODEL_PATH = "model"  # where a run keeps its model
_TRAINING_VIEW = {"mlflow.experimentKind": "custom_model_development"}  # what the UI shows first


@dataclass(frozen=True)
class RegisteredModel:
    """A version in the registry and a local copy of its files."""

    name: str
    registry_version: str
    run_id: str
    folder: Path


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


def open_experiment(client: Any, name: str, *, artifact_root: str | Path | None = None) -> str:
    """Return the id of the experiment of that name, created if it is not there yet.

    `artifact_root` is a folder or URI for its files; a tracking server ignores it and uses its own.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = None
        if artifact_root is not None and not client.tracking_uri.startswith("http"):
            text = str(artifact_root)
            location = text if "://" in text else resolve(text).as_uri()
        try:
            return client.create_experiment(name, artifact_location=location, tags=_TRAINING_VIEW)
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process was quicker
            if found is None:
                raise
    return found.experiment_id


@contextmanager
def training_run(
    client: Any, experiment: str, name: str, *, artifact_root: str | Path | None = None
) -> Iterator[str]:
    """Open one MLflow run for one training and yield its id; it ends FAILED if the block raises."""
    experiment_id = open_experiment(client, experiment, artifact_root=artifact_root)
    tags = {
        "mlflow.runName": name,
        "mlflow.user": os.environ.get("USER", "clicklab"),
        **code_version(),
    }
    run_id = client.create_run(experiment_id, tags=tags).info.run_id
    try:
        yield run_id
    except BaseException:
        with suppress(UnavailableError):  # the training's own error matters more
            client.set_terminated(run_id, status="FAILED")
        raise
    client.set_terminated(run_id, status="FINISHED")


def log_history(client: Any, run_id: str, history: Sequence[Mapping[str, float]]) -> None:
    """Write the metrics of each epoch, with the epoch as the step."""
    from mlflow.entities import Metric
    from mlflow.utils.time import get_current_time_millis

    now = get_current_time_millis()
    metrics = [
        Metric(key, float(value), now, int(row["epoch"]))
        for row in history
        for key, value in row.items()
        if key != "epoch" and value is not None
    ]
    client.log_batch(run_id, metrics=metrics)


def log_params(client: Any, run_id: str, params: Mapping[str, Any]) -> None:
    """Write the parameters of a run in one call."""
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(key, str(value)) for key, value in params.items()])


def log_dataset(
    client: Any, run_id: str, *, name: str, source: str, digest: str, rows: Mapping[str, int]
) -> None:
    """Record which data the run used; MLflow shows its name, digest and rows."""
    import json

    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=name,
        digest=digest[:36],
        source_type="clicklab",
        source=json.dumps({"uri": source}),
        profile=json.dumps(dict(rows)),
    )
    tag = InputTag("mlflow.data.context", "training")
    client.log_inputs(run_id, [DatasetInput(dataset, [tag])])


def log_model(client: Any, run_id: str, folder: str | Path) -> None:
    """Store the files of a model folder with its run."""
    client.log_artifacts(run_id, str(folder), MODEL_PATH)


def add_to_model(client: Any, run_id: str, name: str, text: str) -> None:
    """Put a file beside the model that a run stored; an existing one of that name is kept."""
    path = f"{MODEL_PATH}/{name}"
    if path not in [file.path for file in client.list_artifacts(run_id, MODEL_PATH)]:
        client.log_text(run_id, text, path)


def registered_name(schema: Schema) -> str:
    """Return the name in the registry: one registered model per log."""
    return f"ctr-{schema.name}"


def register(client: Any, name: str, run_id: str, *, tags: Mapping[str, str]) -> str:
    """Register the model of a run and return its version number; the same run twice is one version."""
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
    return RegisteredModel(name, str(version.version), version.run_id, Path(local))


def code_version() -> dict[str, str]:
    """Return the git commit (if any), whether the tree differs from it, and a digest of ``tasks``."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    tags = {"clicklab.code_digest": digest.hexdigest()[:16]}
    commit = _git("rev-parse", "HEAD")
    if commit:
        tags["mlflow.source.git.commit"] = commit
        tags["clicklab.code_dirty"] = str(bool(_git("status", "--porcelain"))).lower()
    return tags


def _git(*words: str) -> str:
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
