"""One MLflow run per training: parameters, curve, metrics, data, code, trials, tables, figures and the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.hashing.feature_set import REFERENCE
from tasks.registry.mlflow_model import log_mlflow_files
from tasks.registry.mlflow_store import MODEL_PATH, ORIGIN, connect, experiment_name
from tasks.registry.runs import (
    as_metrics,
    as_params,
    code_version,
    log_dataset,
    log_metrics,
    log_model,
    log_params,
    training_run,
    user,
)
from tasks.storage.workspace import is_scratch

_STATUS = {"complete": "FINISHED", "pruned": "KILLED", "diverged": "FAILED"}
_BY_HAND = "run by hand"
SOURCE = {"mlflow.source.type": "LOCAL", "mlflow.source.name": "notebooks/train.ipynb"}


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
    span: tuple[float, float],
    train: Any,
    valid: Any,
    model: str | Path,
    search: Any = None,
) -> TrainingRecord:
    """Write everything that is known of one training as one MLflow run, and return its record.

    The headline of each metric is that of the model that was kept. The run is marked interactive, and named so,
    if the model lies in a scratch place, where runs by hand write.

    Parameters
    ----------
    tracking
        ``tracking_uri``, ``experiment`` and ``artifact_root`` as in ``env.yaml``.
    name
        What the pipeline calls the model.
    params
        Every effective parameter and option of the training, defaults too; ``kind`` among them.
    history
        Its epochs (:class:`tasks.training.history.History`).
    metrics
        Numbers of the model that was kept, ``valid_log_loss`` and others.
    span
        When the training, its search included, began and ended; seconds since 1970.
    train, valid
        The feature sets.
    model
        The folder of the saved model.
    search
        The search behind the parameters (:class:`tasks.training.search.SearchResult`), if there was one; its
        trials become runs below this one.

    Raises
    ------
    ConfigError, UnavailableError
        As :func:`tasks.registry.mlflow_store.connect`; a run that was begun then ends FAILED.
    """
    client = connect(tracking["tracking_uri"])
    by_hand = is_scratch(model)
    place: dict[str, Any] = {"artifact_root": tracking.get("artifact_root"), "span": span}
    tags = _tags(name, train, by_hand=by_hand, search=search)
    title = f"{name} ({_BY_HAND})" if by_hand else name
    experiment = experiment_name(tracking["experiment"], train.manifest.get("origin"))
    with training_run(client, experiment, title, tags=tags, **place) as run_id:
        log_params(client, run_id, {"model": name, **params, **(search.settings if search else {})})
        data = log_dataset(
            client,
            run_id,
            name=train.contract.schema["name"],
            source=train.manifest.get("source", ""),
            digest=train.manifest["log_digest"],
            rows={"train": train.n_rows, "valid": valid.n_rows},
        )
        model_id = _log_logged_model(client, run_id, name, params=params)
        log_metrics(client, run_id, _epochs(history))
        log_metrics(client, run_id, _kept(history, metrics), model_id=model_id, data=data)
        if search is not None:
            _log_trials(client, run_id, search, tags=tags, begin=span[0])
        log_model(client, run_id, model)
        log_mlflow_files(client, run_id, model)
        if (reference := Path(train.folder).parent / REFERENCE).is_file():
            client.log_artifact(run_id, str(reference), MODEL_PATH)
    return TrainingRecord(run_id, client)


def _tags(name: str, train: Any, *, by_hand: bool, search: Any) -> dict[str, str]:
    origin = str(train.manifest.get("origin") or train.manifest.get("source", ""))
    notes = [f"{name} on {origin}, {train.n_rows:,} training rows."]
    notes += [f"{_BY_HAND.capitalize()}, outside the pipeline."] if by_hand else []
    edges = list(search.notes) if search is not None else []
    return {
        **SOURCE,
        "mlflow.note.content": "\n\n".join([*notes, *edges]),
        "clicklab.task": f"train-{name}",
        "clicklab.interactive": str(by_hand).lower(),
        ORIGIN: origin,
        "clicklab.schema": train.contract.schema["name"],
        "clicklab.log_digest": train.manifest["log_digest"],
        "clicklab.contract": train.contract.digest,
        **({"clicklab.search_edge": " ".join(edges)} if edges else {}),
    }


def _epochs(history: Any) -> dict[int, dict[str, float]]:
    """Return the metrics of each epoch but the kept one, if that is the last."""
    rows = {epoch.epoch: _of_epoch(epoch) for epoch in history.epochs}
    if history.best_epoch == len(rows):
        del rows[history.best_epoch]
    return rows


def _kept(history: Any, metrics: Mapping[str, float]) -> dict[int, dict[str, float]]:
    """Return the metrics of the model that was kept, at a step behind which there is none."""
    best = history.epochs[history.best_epoch - 1]
    step = len(history.epochs) + (history.best_epoch < len(history.epochs))
    return {step: {**_of_epoch(best), **metrics, "best_epoch": history.best_epoch}}


def _of_epoch(epoch: Any) -> dict[str, float]:
    return {
        "train_log_loss": epoch.train_log_loss,
        "valid_log_loss": epoch.valid_log_loss,
        "valid_roc_auc": epoch.valid_roc_auc,
        "epoch_seconds": epoch.seconds,
    }


def _log_logged_model(client: Any, run_id: str, name: str, *, params: Mapping[str, Any]) -> str:
    """Enter the model in MLflow's list of models, and return its id; its files stay with the run."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    experiment_id = client.get_run(run_id).info.experiment_id
    listed = client.create_logged_model(
        experiment_id,
        name=name,
        source_run_id=run_id,
        params={key: str(value)[:6000] for key, value in params.items()},
        tags={
            **SOURCE,
            "mlflow.model.isExternal": "true",
            "mlflow.note.content": "Its files are in the folder `model` of its source run.",
        },
        model_type="clicklab",
    )
    client.finalize_logged_model(listed.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(listed.model_id, step=0)])
    return str(listed.model_id)


def _log_trials(
    client: Any, run_id: str, search: Any, *, tags: Mapping[str, str], begin: float
) -> None:
    """Write each trial as a run below the study's, in three calls; and all of them as a table."""
    if not len(search.trials):
        return
    client.log_table(run_id, search.trials, "trials.json")
    experiment_id = client.get_run(run_id).info.experiment_id
    kept = ("clicklab.interactive", "clicklab.task", ORIGIN)
    shared = {key: tags[key] for key in kept} | SOURCE | user() | code_version()
    for number, trial in enumerate(search.records):
        own = {
            "mlflow.runName": f"trial {number}: {trial['state']}",
            "mlflow.parentRunId": run_id,
            "clicklab.trial_state": trial["state"],
        }
        start = int(1000 * trial.get("started", begin))
        end = start + int(1000 * trial["seconds"])
        child = client.create_run(experiment_id, start_time=start, tags=shared | own).info.run_id
        losses = {step: {"valid_log_loss": loss} for step, loss in enumerate(trial["losses"], 1)}
        if trial["state"] == "complete":  # its value, which is that of its best epoch
            losses[len(losses) + 1] = {"valid_log_loss": trial["valid_log_loss"]}
        client.log_batch(child, metrics=as_metrics(losses), params=as_params(trial["params"]))
        client.set_terminated(child, status=_STATUS[trial["state"]], end_time=end)
