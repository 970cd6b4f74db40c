"""MLflow as this project uses it: one registered model per log, two aliases.

Model files are ordinary run artifacts (arrays and JSON, never a pickle), with what MLflow needs to load them
beside (:mod:`tasks.registry.mlflow_model`); a registered version, which only a model gets that may serve,
points at them. Aliases name the models that serve now, the ledger (:mod:`tasks.registry.ledger`) those before.
Runs are written by :mod:`tasks.registry.runs`.
"""

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import ClicklabError, ConfigError, InputError
from tasks.logs.origin import origin_of, slug
from tasks.models.golden import is_model_file
from tasks.registry.mlflow_client import (
    KNOB,
    ReadableClient,
    check_files,
    checked_address,
    quiet_mlflow,
    reason_of,
    store_error,
)
from tasks.registry.relocation import relocate
from tasks.registry.store_version import check_version
from tasks.schema import Schema
from tasks.storage.availability import patiently
from tasks.storage.databases import check_database, database_lock, is_database, without_password
from tasks.storage.s3 import is_s3, s3_client, s3_errors, split_address
from tasks.storage.workspace import resolve_store

CHAMPION, CHALLENGER = "champion", "challenger"
ORIGIN = "clicklab.origin"  # tag of runs and versions: where their rows came from
ARTIFACT_VERSION = "clicklab.artifact_version"  # tag of runs: the version in the model's files
_OVERRIDE = "MLFLOW_TRACKING_URI"
MODEL_PATH = "model"  # where a run keeps its model
SERVED_PATH = "served"  # and the one that serves in its place, which has learned the test rows too


@dataclass(frozen=True)
class RegisteredModel:
    """A version in the registry and a local copy of its files."""

    name: str
    registry_version: str
    run_id: str
    folder: Path
    origin: str | None = None  # where its rows came from; None for a version of an older release
    is_renewed: bool = False
    judged: Path | None = None  # the model that was judged, where another serves


def _point_mlflow_at(uri: str) -> None:
    """Set the address for MLflow's own functions, and leave the environment as it was.

    MLflow notes the address in MLFLOW_TRACKING_URI for child processes. That variable overrides the knob, so the
    next connection of this process, to another store, would go to this one.
    """
    import mlflow

    given = os.environ.get(_OVERRIDE)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    if given is None:
        os.environ.pop(_OVERRIDE, None)
    else:
        os.environ[_OVERRIDE] = given


def connect(tracking_uri: str) -> Any:
    """Return an ``MlflowClient`` on a store that exists and is migrated; MLFLOW_TRACKING_URI overrides the address.

    The tables of a new database are created on first use, behind a lock, because two processes that do so at once
    leave it broken. A local store that was moved finds its artifacts again.

    Raises
    ------
    ConfigError
        If the address is not one MLflow can open, holds a password, or names a store of another version.
    UnavailableError
        If the server, or the database, is temporarily unavailable; each call of the client may raise it, too.
    """
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    warnings.filterwarnings("ignore", message="IProgress not found")  # no progress bars wanted
    import mlflow
    from mlflow.exceptions import MlflowException

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    quiet_mlflow()
    uri = resolve_store(checked_address(tracking_uri, os.environ.get(_OVERRIDE)))

    def open_store() -> ReadableClient:
        if is_database(uri):
            check_database(uri)
        with database_lock(uri, "mlflow"):
            if is_database(uri):
                check_version(uri)
                relocate(uri)
            _point_mlflow_at(uri)
            client = mlflow.MlflowClient(uri)
            client.search_experiments(max_results=1)
        return ReadableClient(client, uri)

    try:
        return patiently(open_store) if is_database(uri) else open_store()
    except ClicklabError:
        raise
    except Exception as error:
        if (readable := store_error(uri, error)) is not None:
            raise readable from None
        of_the_database = type(error).__module__.startswith("sqlalchemy")
        is_full = "disk is full" in str(error)  # the executor reports a full disk in its own words
        if is_full or not (of_the_database or isinstance(error, MlflowException | OSError)):
            raise
        raise ConfigError(
            f"MLflow at {without_password(uri)!r} cannot be used ({reason_of(error)}); see {KNOB}"
        ) from None


def check_tracking(knobs: Mapping[str, Any]) -> None:
    """Raise what would stop a run later: a store that cannot be used, a deleted experiment, a missing bucket.

    Parameters
    ----------
    knobs
        As in ``env.yaml``.

    Raises
    ------
    ConfigError, InputError, UnavailableError
        As :func:`connect` and the client's calls.
    """
    tracking = knobs["mlflow"]
    client = connect(tracking["tracking_uri"])
    found = client.get_experiment_by_name(experiment_of(knobs))
    if client.tracking_uri.startswith("http"):
        check_files(client.tracking_uri)
        return
    root = str(found.artifact_location if found else tracking.get("artifact_root") or "")
    if is_s3(root):
        bucket, prefix = split_address(root)
        with s3_errors(root):
            s3_client().list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)


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


def experiment_of(knobs: Mapping[str, Any]) -> str:
    """Return the name of the experiment in which a run with these knobs is recorded."""
    return experiment_name(
        knobs["mlflow"]["experiment"], origin_of(knobs["data"], knobs.get("origin"))
    )


def model_path(source: str | None) -> str:
    """Return where the run of a registered version keeps what serves, given the version's source.

    Examples
    --------
    >>> model_path("s3://bucket/1/0a1b/artifacts/served"), model_path("mlflow/store/0a1b/artifacts/model")
    ('served', 'model')
    """
    return SERVED_PATH if str(source).rstrip("/").endswith(f"/{SERVED_PATH}") else MODEL_PATH


def register(
    client: Any, name: str, run_id: str, *, tags: Mapping[str, str], path: str = MODEL_PATH
) -> str:
    """Register the model that a run keeps at `path` and return its version number; the same again returns the same one."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = find_version(client, name, run_id)
    if known is not None and path == model_path(client.get_model_version(name, known).source):
        return known
    run = client.get_run(run_id)
    source = f"{run.info.artifact_uri}/{path}"
    version = client.create_model_version(name, source, run_id=run_id, tags=dict(tags))
    outputs = run.outputs.model_outputs if run.outputs else []
    for output in outputs:  # the model in MLflow's list of models says that it is registered
        versions = json.dumps([{"name": name, "version": str(version.version)}])
        client.set_logged_model_tags(output.model_id, {"mlflow.modelVersions": versions})
    return str(version.version)


def find_version(client: Any, name: str, run_id: str) -> str | None:
    """Return the version of a run's model, the newest if it has several, or None if it was never registered."""
    found = client.search_model_versions(f"name='{name}' and run_id='{run_id}'")
    return str(max(int(one.version) for one in found)) if found else None


def find_registered(client: Any, name: str) -> Any:
    """Return a registered model, MLflow's; None if no model was ever registered under that name."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def aliases(client: Any, name: str) -> dict[str, str]:
    """Return version by alias; empty if no model was ever registered under that name."""
    found = find_registered(client, name)
    named = {} if found is None else dict(found.aliases)
    return {alias: str(version) for alias, version in named.items()}


def set_alias(client: Any, name: str, alias: str, version: str | None) -> None:
    """Point `alias` at a version, or remove it if None."""
    if version is None:
        if alias in dict(client.get_registered_model(name).aliases):
            client.delete_registered_model_alias(name, alias)
    else:
        client.set_registered_model_alias(name, alias, version)


def find_alias(
    client: Any, name: str, alias: str, *, folder: str | Path, judged: bool = False
) -> RegisteredModel | None:
    """Return the version behind an alias, its files downloaded below `folder`; None if there is none.

    With `judged` also those of the model that was judged in its place, if there is one.

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
    place, served = Path(folder) / f"{name}-{version.version}", model_path(version.source)
    is_renewed = served == SERVED_PATH
    try:
        target = download_model(client, version.run_id, served, place)
        other = None
        if judged and is_renewed:
            other = download_model(client, version.run_id, MODEL_PATH, place / "judged")
    except (MlflowException, OSError) as error:
        raise InputError(
            f"the files of {name} version {version.version} ({alias}) cannot be read at {version.source} ({reason_of(error)}); "
            f"restore them or remove the alias {alias!r}"
        ) from None
    where = (str(version.version), version.run_id, target, _origin(client, version))
    return RegisteredModel(name, *where, is_renewed=is_renewed, judged=other)


def download_model(client: Any, run_id: str, path: str, place: Path) -> Path:
    """Copy the files of a run's model, and return their folder; OSError if there are none."""
    target = place / path
    target.mkdir(parents=True, exist_ok=True)
    there = [file.path for file in client.list_artifacts(run_id, path)]
    wanted = [one for one in there if is_model_file(one.removeprefix(f"{path}/"))]
    if not wanted:
        raise FileNotFoundError("its run holds no model")
    for one in wanted:
        client.download_artifacts(run_id, one, str(target))
    return target


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
