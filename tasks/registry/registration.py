"""What a decision leaves in the registry: versions of the models that may serve, their tags and golden rows."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tasks.models.golden import GOLDEN
from tasks.registry import mlflow_store
from tasks.registry.mlflow_model import log_mlflow_files
from tasks.registry.mlflow_store import MODEL_PATH, SERVED_PATH
from tasks.registry.runs import as_tags, log_model
from tasks.storage.files import write_atomic

SERVED_VERSION = (
    "clicklab.served_version"  # tag of runs and versions: that of the renewed model's files
)
RENEWAL = (
    "clicklab.renewal"  # tag of versions: what the model learned after it was judged, in a sentence
)


def known_versions(client: Any, record: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the registered version of each model with a run; None if it has none yet."""
    runs = {model: record["models"][model]["run_id"] for model in record["verdicts"]}
    return {
        model: mlflow_store.find_version(client, record["registered_name"], run_id)
        for model, run_id in runs.items()
        if run_id is not None
    }


def register_models(
    client: Any,
    record: Mapping[str, Any],
    passing: list[str],
    known: Mapping[str, str | None],
    *,
    served: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, str]:
    """Register the models that pass, renew the tags of those registered before, and return all their versions.

    `served` holds the tags of each model that is about to serve, by its name; with :data:`SERVED_VERSION` among them the run
    keeps a renewed one, to which its version leads.
    """
    name, versions = record["registered_name"], {}
    for model, version in known.items():
        run_id = record["models"][model]["run_id"]
        tags = _version_tags(record, model) | dict((served or {}).get(model, {}))
        if model in passing:
            add_golden(client, record, model, run_id)
        if model in (served or {}):
            path = SERVED_PATH if SERVED_VERSION in tags else MODEL_PATH
            version = mlflow_store.register(client, name, run_id, tags=tags, path=path)
        elif version is None and model in passing:
            version = mlflow_store.register(client, name, run_id, tags=tags)
        if version is not None:
            versions[model] = version
            for key, value in tags.items():
                client.set_model_version_tag(name, version, key, value)
    return versions


def keep_renewed(
    client: Any,
    record: Mapping[str, Any],
    model: str,
    folder: Path,
    p_click: np.ndarray,
    version: str,
) -> None:
    """Store a renewed model with the run of the judged one, and the golden rows with what it predicts for them.

    Parameters
    ----------
    folder
        Its files.
    p_click
        What the pipeline's arrays predict with it for the test rows, ``(n_rows,)``.
    version
        That of its files.
    """
    run_id, golden = record["models"][model]["run_id"], record["golden"]
    expected = [float(p_click[row]) for row in golden["test_rows"]]
    write_atomic(folder / GOLDEN, json.dumps({"rows": golden["rows"], "p_click": expected}))
    log_model(client, run_id, folder, path=SERVED_PATH)
    log_mlflow_files(client, run_id, folder, path=SERVED_PATH)
    client.log_batch(run_id, tags=as_tags({SERVED_VERSION: version}))


def add_golden(client: Any, record: Mapping[str, Any], model: str, run_id: str) -> None:
    """Store the golden rows beside a judged model, unless they are there."""
    rows, p_click = record["golden"]["rows"], record["golden"]["p_click"]
    if model in p_click:
        golden = {"rows": rows, "p_click": p_click[model]}
        mlflow_store.add_to_model(client, run_id, GOLDEN, json.dumps(golden))


def _version_tags(record: Mapping[str, Any], model: str) -> dict[str, str]:
    verdict, result = record["verdicts"][model], record["models"][model]
    metrics = record["metrics"].get(model)
    return {
        "model": model,
        "artifact_version": result["version"],
        "verdict": "passed" if verdict["passed"] else "refused",
        "reasons": "; ".join(verdict["reasons"])[:4000] or "none",
        **({mlflow_store.ORIGIN: record["origin"]} if record.get("origin") else {}),
        **({"log_loss": f"{metrics['log_loss']:.6f}"} if metrics else {}),
    }
