"""MLflow runs as this project writes them: opened, named, tagged with their code, filled in few calls."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tasks.errors import UnavailableError
from tasks.registry import table_view
from tasks.registry.mlflow_store import MODEL_PATH
from tasks.storage.workspace import resolve

_MAX_METRICS = 1000  # of one call


def open_experiment(client: Any, name: str, *, artifact_root: str | Path | None = None) -> str:
    """Return the id of the experiment of that name, created if it does not exist.

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
            return client.create_experiment(
                name, artifact_location=location, tags=table_view.experiment_tags()
            )
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process was quicker
            if found is None:
                raise
    for key, value in table_view.experiment_tags().items():  # of an older version, or none
        if found.tags.get(key) != value:
            client.set_experiment_tag(found.experiment_id, key, value)
    return found.experiment_id


@contextmanager
def training_run(
    client: Any,
    experiment: str,
    name: str,
    *,
    artifact_root: str | Path | None = None,
    tags: Mapping[str, str] | None = None,
    span: tuple[float, float] | None = None,
) -> Iterator[str]:
    """Open one MLflow run for one training and yield its id; it ends FAILED if the block raises.

    `span` is when the training began and ended, seconds since 1970: MLflow shows it as the run's duration.
    """
    experiment_id = open_experiment(client, experiment, artifact_root=artifact_root)
    begin, end = [int(1000 * moment) for moment in span] if span else (None, None)
    given = {"mlflow.runName": name, **user(), **code_version(), **(tags or {})}
    run_id = client.create_run(experiment_id, start_time=begin, tags=given).info.run_id
    try:
        yield run_id
    except BaseException:
        with suppress(UnavailableError):  # the first error is the one to report
            client.set_terminated(run_id, status="FAILED")
        raise
    client.set_terminated(run_id, status="FINISHED", end_time=end)


def user() -> dict[str, str]:
    """Return the tag that says who trains."""
    return {"mlflow.user": os.environ.get("USER", "clicklab")}


def log_params(client: Any, run_id: str, params: Mapping[str, Any]) -> None:
    """Write the parameters of a run in one call."""
    client.log_batch(run_id, params=as_params(params))


def as_params(params: Mapping[str, Any]) -> list[Any]:
    """Return parameters as MLflow's entities; a long value is cut to what MLflow keeps."""
    from mlflow.entities import Param

    return [Param(key, str(value)[:6000]) for key, value in params.items()]


def log_metrics(
    client: Any,
    run_id: str,
    rows: Mapping[int, Mapping[str, float | None]],
    *,
    model_id: str | None = None,
    data: tuple[str, str] | None = None,
) -> None:
    """Write metrics by step, in as few calls as MLflow allows; arguments as for :func:`as_metrics`."""
    metrics = as_metrics(rows, model_id=model_id, data=data)
    for begin in range(0, len(metrics), _MAX_METRICS):
        client.log_batch(run_id, metrics=metrics[begin : begin + _MAX_METRICS])


def as_metrics(
    rows: Mapping[int, Mapping[str, float | None]],
    *,
    model_id: str | None = None,
    data: tuple[str, str] | None = None,
) -> list[Any]:
    """Return metrics by step as MLflow's entities, without those that are None.

    MLflow shows the value of the last step as that of the run. With `model_id` they are those of a logged
    model, too, measured on the dataset of which `data` is name and digest.
    """
    from mlflow.entities import Metric
    from mlflow.utils.time import get_current_time_millis

    now = get_current_time_millis()
    return [
        Metric(
            key,
            float(value),
            now,
            step,
            model_id=model_id,
            dataset_name=data[0] if data else None,
            dataset_digest=data[1] if data else None,
        )
        for step, row in rows.items()
        for key, value in row.items()
        if value is not None
    ]


def as_tags(tags: Mapping[str, Any]) -> list[Any]:
    """Return tags as MLflow's entities; a long value is cut to what MLflow keeps."""
    from mlflow.entities import RunTag

    return [RunTag(key, str(value)[:5000]) for key, value in tags.items()]


def log_dataset(
    client: Any, run_id: str, *, name: str, source: str, digest: str, rows: Mapping[str, int]
) -> tuple[str, str]:
    """Write which data the run used, and return the name and digest that MLflow shows, with numbers of rows."""
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
    return dataset.name, dataset.digest


def log_model(client: Any, run_id: str, folder: str | Path, *, path: str = MODEL_PATH) -> None:
    """Store the files of a model folder with its run."""
    client.log_artifacts(run_id, str(folder), path)


def code_version() -> dict[str, str]:
    """Return tags: the git commit (if any), whether the tree differs from it, and a digest of ``tasks``."""
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
