"""One MLflow run per training: parameters, curve, metrics, data, code, tables, figures and the model."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.errors import UnavailableError
from tasks.registry.mlflow_store import MODEL_PATH, ORIGIN, connect, experiment_name
from tasks.storage.workspace import resolve

_TRAINING_VIEW = {"mlflow.experimentKind": "custom_model_development"}  # the UI opens on the runs


@dataclass(frozen=True)
class TrainingRecord:
    """A finished MLflow run of a training; figures and tables can be added to it."""

    run_id: str
    client: Any

    def attach(self, name: str, content: Any) -> None:
        """Add a figure (``.png``) or a table (``.json``)."""
        log = self.client.log_table if isinstance(content, pd.DataFrame) else self.client.log_figure
        log(self.run_id, content, name)


def record_training(
    tracking: Mapping[str, str],
    name: str,
    *,
    params: Mapping[str, Any],
    history: Any,
    metrics: Mapping[str, float],
    train: Any,
    valid: Any,
    model: str | Path,
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> TrainingRecord:
    """Write everything that is known of one training as one MLflow run, and return its record.

    Parameters
    ----------
    tracking
        ``tracking_uri``, ``experiment`` and ``artifact_root`` as in ``env.yaml``.
    name
        What the pipeline calls the model.
    params
        Parameters and options of the training.
    history
        Its epochs (:class:`tasks.training.history.History`).
    metrics
        Numbers of the chosen epoch.
    train, valid
        The feature sets.
    model
        The folder of the saved model.
    tables
        Further tables by file name (``.json``).

    Raises
    ------
    ConfigError, UnavailableError
        As :func:`tasks.registry.mlflow_store.connect`; a run that was begun then ends FAILED.
    """
    client = connect(tracking["tracking_uri"])
    origin = train.manifest.get("origin")
    place = {"artifact_root": tracking.get("artifact_root"), "origin": origin}
    chosen = [{"epoch": history.best_epoch, **metrics}]
    experiment = experiment_name(tracking["experiment"], origin)
    with training_run(client, experiment, name, **place) as run_id:
        log_params(client, run_id, {"model": name, **params})
        log_history(client, run_id, history.to_frame().to_dict(orient="records"))
        log_history(client, run_id, chosen)
        log_dataset(
            client,
            run_id,
            name=train.contract.schema["name"],
            source=train.manifest.get("source", ""),
            digest=train.manifest["log_digest"],
            rows={"train": train.n_rows, "valid": valid.n_rows},
        )
        for file_name, table in (tables or {}).items():
            client.log_table(run_id, table, file_name)
        log_model(client, run_id, model)
    return TrainingRecord(run_id, client)


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
            return client.create_experiment(name, artifact_location=location, tags=_TRAINING_VIEW)
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process was quicker
            if found is None:
                raise
    return found.experiment_id


@contextmanager
def training_run(
    client: Any,
    experiment: str,
    name: str,
    *,
    artifact_root: str | Path | None = None,
    origin: str | None = None,
) -> Iterator[str]:
    """Open one MLflow run for one training and yield its id; it ends FAILED if the block raises."""
    experiment_id = open_experiment(client, experiment, artifact_root=artifact_root)
    tags = {
        "mlflow.runName": name,
        "mlflow.user": os.environ.get("USER", "clicklab"),
        **code_version(),
        **({ORIGIN: origin} if origin else {}),
    }
    run_id = client.create_run(experiment_id, tags=tags).info.run_id
    try:
        yield run_id
    except BaseException:
        with suppress(UnavailableError):  # the first error is the one to report
            client.set_terminated(run_id, status="FAILED")
        raise
    client.set_terminated(run_id, status="FINISHED")


def log_params(client: Any, run_id: str, params: Mapping[str, Any]) -> None:
    """Write the parameters of a run in one call."""
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(key, str(value)) for key, value in params.items()])


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


def log_dataset(
    client: Any, run_id: str, *, name: str, source: str, digest: str, rows: Mapping[str, int]
) -> None:
    """Write which data the run used: MLflow shows name, digest and numbers of rows."""
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
