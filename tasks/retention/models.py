"""The models of runs, in MLflow, that no alias, pointer, product or Bento needs; what was measured of them stays."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.registry import mlflow_store
from tasks.registry.ledger import MOVING
from tasks.registry.mlflow_store import ARTIFACT_VERSION, MODEL_PATH, SERVED_PATH
from tasks.registry.publish import read_pointer
from tasks.registry.registration import SERVED_VERSION
from tasks.retention.removable import Removable, is_older
from tasks.storage.workspace import resolve

REMOVED = "clicklab.model_removed"  # tag of runs: when their models went
_PAGE = 1000


def old_models(
    client: Any,
    env: Mapping[str, Any],
    name: str,
    *,
    entries: Sequence[Mapping[str, Any]],
    packed: Collection[str],
) -> Iterator[Removable]:
    """Yield the runs whose models can go, with their registered versions.

    Parameters
    ----------
    client
        Of :func:`tasks.registry.mlflow_store.connect`.
    env
        The knobs.
    name
        The registered model.
    entries
        The ledger.
    packed
        Versions of the models in Bentos that stay.
    """
    keep, versions = env["keep"], _versions(client, name)
    stays = kept_versions(client, env, name, entries)
    runs = {str(one.run_id) for number, one in versions.items() if number in stays}
    needed = set(packed) | _of_pointers(keep["pointers"])
    runs |= _of_products(resolve(env["products"]))
    seen: Counter[str] = Counter()
    for run in _runs(client, env):
        tags, run_id = run.data.tags, run.info.run_id
        task = tags.get("clicklab.task") or tags.get("mlflow.runName", "")
        seen[task] += 1
        own = {tags.get(ARTIFACT_VERSION), tags.get(SERVED_VERSION)}
        is_kept = run_id in runs or seen[task] <= keep["models"] or own & needed
        if is_kept or not is_older(run.info.start_time / 1000, keep["days"]):
            continue
        registered = client.search_model_versions(f"run_id='{run_id}'")
        if run.info.status == "RUNNING" or any(one.name != name for one in registered):
            continue
        numbers = [str(one.version) for one in registered]
        shown = f"{task} {run_id}" + (f" (version {', '.join(numbers)})" if numbers else "")
        n_bytes = sum(_n_bytes(client, run_id, path) for path in (MODEL_PATH, SERVED_PATH))
        yield Removable("model", shown, n_bytes, _removal(client, name, run, numbers))


def kept_versions(
    client: Any, env: Mapping[str, Any], name: str, entries: Sequence[Mapping[str, Any]]
) -> set[str]:
    """Return the registered versions that stay: with an alias, the newest, young ones, and the last champions."""
    keep, versions = env["keep"], _versions(client, name)
    newest = sorted(versions, key=int)[-keep["models"] :]
    moves = [
        entry
        for entry in entries
        if entry.get("registered_name") == name and entry["decision"] in MOVING
    ][-keep["models"] :]
    champions = [entry.get(key) for entry in moves for key in ("version", "previous_champion")]
    young = [
        number
        for number, one in versions.items()
        if not is_older(one.creation_timestamp / 1000, keep["days"])
    ]
    aliases = mlflow_store.aliases(client, name).values()
    return {str(one) for one in (*aliases, *newest, *champions, *young) if one is not None}


def serving_versions(client: Any, name: str) -> set[str]:
    """Return the versions, in the files, of all models with an alias."""
    found = set()
    for number in set(mlflow_store.aliases(client, name).values()):
        tags = client.get_model_version(name, number).tags
        found |= {tags.get("artifact_version"), tags.get(SERVED_VERSION)}
    return {str(one) for one in found if one}


def _versions(client: Any, name: str) -> dict[str, Any]:
    return {str(one.version): one for one in client.search_model_versions(f"name='{name}'")}


def _runs(client: Any, env: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the runs that hold a model, the newest first."""
    base = env["mlflow"]["experiment"]
    ours = [
        one.experiment_id
        for one in client.search_experiments()
        if one.name == base or one.name.startswith(f"{base}-")
    ]
    token = None
    while ours:
        found = client.search_runs(
            ours,
            f"tags.`{ARTIFACT_VERSION}` LIKE '%'",
            max_results=_PAGE,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        yield from [run for run in found if REMOVED not in run.data.tags]
        token = found.token
        if not token:
            return


def _of_pointers(pointers: Sequence[str]) -> set[str]:
    return {
        str(entry["version"])
        for pointer in pointers
        for entry in read_pointer(pointer).history
        if "version" in entry
    }


def _of_products(products: Path) -> set[str]:
    """Return the runs that trainings, an evaluation or a promotion below the products name."""
    found: set[str] = set()
    for path in products.rglob("*.json"):
        if not path.name.startswith(("train-", "evaluation")):
            continue
        try:
            record = json.loads(path.read_text())
            found |= {str(record.get("run_id"))}
            found |= {str(one.get("run_id")) for one in record.get("models", {}).values()}
        except (OSError, ValueError, AttributeError):
            continue
    return found


def _n_bytes(client: Any, run_id: str, path: str) -> int:
    files = client.list_artifacts(run_id, path)
    return sum(
        _n_bytes(client, run_id, one.path) if one.is_dir else one.file_size or 0 for one in files
    )


def _removal(client: Any, name: str, run: Any, numbers: Sequence[str]) -> Any:
    """Return what removes versions first, then files: a version never leads to nothing."""

    def remove() -> bool:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        run_id = run.info.run_id
        now = {str(one.version) for one in client.search_model_versions(f"run_id='{run_id}'")}
        if now != set(numbers) or now & set(mlflow_store.aliases(client, name).values()):
            return False  # promoted meanwhile
        for number in numbers:
            client.delete_model_version(name, number)
        files = get_artifact_repository(run.info.artifact_uri)
        for path in (MODEL_PATH, SERVED_PATH):
            if client.list_artifacts(run_id, path):
                files.delete_artifacts(path)
        client.set_tag(run_id, REMOVED, datetime.now(UTC).isoformat(timespec="seconds"))
        return True

    return remove
