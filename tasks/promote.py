"""Promote the best model that passes its gates; refuse the others, with reasons."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.errors import ChangedError
from tasks.models.golden import GOLDEN
from tasks.registry import mlflow_store
from tasks.registry.evaluation_record import record_verdicts
from tasks.registry.ledger import append_decision, ledger_place
from tasks.storage.files import write_atomic


def promote(
    product: Any,
    upstream: Any,
    tracking: Mapping[str, str],
    code: str = "",
) -> None:
    """Ploomber task: act on the verdicts of ``evaluate``."""
    evaluation = Path(str(upstream["evaluate"]["evaluation"]))
    try:
        decision = decide(json.loads(evaluation.read_text()), tracking)
    except ChangedError:
        evaluation.unlink()  # so that the next run compares the models with the new champion
        raise
    write_atomic(Path(str(product["promotion"])), json.dumps(decision, indent=2))


def decide(record: Mapping[str, Any], tracking: Mapping[str, str]) -> dict[str, Any]:
    """Register every model that passed, move the aliases, write the ledger, and return the decision.

    The best model that passes becomes ``champion``, the next that passes ``challenger`` (else the
    champion before it). If none passes, the champion stays. Every model gets a line in the ledger, and its
    verdict with the reasons on its run; a registered one also its golden rows, with which a service that loads
    it from the registry proves it.

    Raises
    ------
    ChangedError
        If the champion is not the one the models were compared with.
    """
    client = mlflow_store.connect(tracking["tracking_uri"])
    name, ranking = record["registered_name"], record["ranking"]
    passing = [model for model in ranking if record["verdicts"][model]["passed"]]
    known = {
        model: mlflow_store.find_version(client, name, record["models"][model]["run_id"])
        for model in ranking
    }
    before = mlflow_store.aliases(client, name).get(mlflow_store.CHAMPION)
    winner = passing[0] if passing else None
    already = winner is not None and before is not None and known[winner] == before
    if before != record["champion_version"] and not already:
        raise ChangedError(
            f"the champion of {name} is {_version(before)} now, but the models were compared with "
            f"{_version(record['champion_version'])}; run again, and they are compared with the new one"
        )
    if before is not None and before == record["champion_version"]:
        run_id = client.get_model_version(name, before).run_id
        _add_golden(client, record, mlflow_store.CHAMPION, run_id)
    versions = _register(client, record, passing, known)
    if winner is not None and not already:
        runner_up = versions[passing[1]] if len(passing) > 1 else before
        mlflow_store.set_alias(client, name, mlflow_store.CHALLENGER, runner_up)
        mlflow_store.set_alias(client, name, mlflow_store.CHAMPION, versions[winner])
    decisions = {model: _decision(model, winner, passing) for model in ranking}
    for model in ranking:
        entry = _entry(record, model, decisions[model], versions.get(model), before)
        append_decision(ledger_place(tracking["ledger"]), entry)
    champion = versions[winner] if winner else before
    run_id = client.get_model_version(name, champion).run_id if champion else None
    record_verdicts(client, record, decisions=decisions, champion_run=run_id)
    return {
        "registered_name": name,
        "champion": winner or "(unchanged)",
        "champion_version": champion,
        "previous_version": before,
        "origin": record.get("origin") if winner else record.get("champion_origin"),
        "replaced_origin": record.get("champion_origin") if winner and not already else None,
        "refused": {
            model: record["verdicts"][model]["reasons"] for model in ranking if model not in passing
        },
        "versions": versions,
    }


def _version(version: str | None) -> str:
    return "none" if version is None else f"version {version}"


def _register(
    client: Any, record: Mapping[str, Any], passing: list[str], known: Mapping[str, str | None]
) -> dict[str, str]:
    """Register the models that pass, renew the tags of those registered before, and return all their versions."""
    name, versions = record["registered_name"], {}
    for model, version in known.items():
        tags, run_id = _version_tags(record, model), record["models"][model]["run_id"]
        if model in passing:
            _add_golden(client, record, model, run_id)
        if version is not None:
            versions[model] = version
            for key, value in tags.items():
                client.set_model_version_tag(name, version, key, value)
        elif model in passing:
            versions[model] = mlflow_store.register(client, name, run_id, tags=tags)
    return versions


def _version_tags(record: Mapping[str, Any], model: str) -> dict[str, str]:
    verdict, result = record["verdicts"][model], record["models"][model]
    return {
        "model": model,
        "artifact_version": result["version"],
        "verdict": "passed" if verdict["passed"] else "refused",
        "reasons": "; ".join(verdict["reasons"])[:4000] or "none",
        **({mlflow_store.ORIGIN: record["origin"]} if record.get("origin") else {}),
        "log_loss": f"{record['metrics'][model]['log_loss']:.6f}",
    }


def _decision(model: str, winner: str | None, passing: list[str]) -> str:
    if model == winner:
        return "promoted"
    return "passed" if model in passing else "refused"


def _add_golden(client: Any, record: Mapping[str, Any], model: str, run_id: str) -> None:
    rows, p_click = record["golden"]["rows"], record["golden"]["p_click"]
    if model in p_click:
        golden = {"rows": rows, "p_click": p_click[model]}
        mlflow_store.add_to_model(client, run_id, GOLDEN, json.dumps(golden))


def _entry(
    record: Mapping[str, Any],
    model: str,
    decision: str,
    version: str | None,
    before: str | None,
) -> dict[str, Any]:
    result = record["models"][model]
    return {
        "decision": decision,
        "model": model,
        "registered_name": record["registered_name"],
        "version": version,  # None for a model that was never registered
        "artifact_version": result["version"],
        "run_id": result["run_id"],
        "previous_champion": before,
        "log_digest": record["log_digest"],
        "origin": record.get("origin"),
        "metrics": record["metrics"][model],
        "reasons": record["verdicts"][model]["reasons"],
    }
