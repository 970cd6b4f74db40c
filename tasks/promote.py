"""Promote the best model that passes its gates; refuse the others, with reasons."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.errors import ClicklabError
from tasks.models.golden import GOLDEN
from tasks.registry import mlflow_store
from tasks.registry.ledger import append_decision
from tasks.storage.files import write_atomic
from tasks.storage.workspace import resolve


def promote(
    product: Any,
    upstream: Any,
    tracking: Mapping[str, str],
    code: str = "",
) -> None:
    """Ploomber task: act on the verdicts of ``evaluate``."""
    record = json.loads(Path(str(upstream["evaluate"]["evaluation"])).read_text())
    decision = decide(record, tracking)
    write_atomic(Path(str(product["promotion"])), json.dumps(decision, indent=2))


def decide(record: Mapping[str, Any], tracking: Mapping[str, str]) -> dict[str, Any]:
    """Register every model of the record, move the aliases, write the ledger, and return the decision.

    The best model that passes becomes ``champion``, the next that passes ``challenger`` (else the
    champion before it). If none passes, the champion stays. Every model gets a line in the ledger, and
    its golden rows beside it, with which a service that loads it from the registry proves it.

    Raises
    ------
    ClicklabError
        If the champion is not the one the models were compared with.
    """
    client = mlflow_store.connect(tracking["tracking_uri"])
    name = record["registered_name"]
    versions = {model: _register(client, record, model) for model in record["ranking"]}
    before = _alias_version(client, name, mlflow_store.CHAMPION)
    if before is not None and before == record["champion_version"]:
        run_id = client.get_model_version(name, before).run_id
        _add_golden(client, record, mlflow_store.CHAMPION, run_id)
    passing = [model for model in record["ranking"] if record["verdicts"][model]["passed"]]
    winner = passing[0] if passing else None
    already = winner is not None and versions[winner] == before
    if before != record["champion_version"] and not already:
        raise ClicklabError(
            f"the champion of {name} is version {before}, but the models were compared with "
            f"{record['champion_version']}; run `ploomber task evaluate --force` and promote again"
        )
    if winner is not None and not already:
        runner_up = versions[passing[1]] if len(passing) > 1 else before
        mlflow_store.set_alias(client, name, mlflow_store.CHALLENGER, runner_up)
        mlflow_store.set_alias(client, name, mlflow_store.CHAMPION, versions[winner])
    for model in record["ranking"]:
        entry = _entry(record, model, versions, winner, before)
        append_decision(resolve(tracking["ledger"]), entry)
    return {
        "registered_name": name,
        "champion": winner or "(unchanged)",
        "champion_version": versions[winner] if winner else before,
        "previous_version": before,
        "origin": record.get("origin") if winner else record.get("champion_origin"),
        "replaced_origin": record.get("champion_origin") if winner and not already else None,
        "refused": {
            model: record["verdicts"][model]["reasons"]
            for model in record["ranking"]
            if model not in passing
        },
        "versions": versions,
    }


def _register(client: Any, record: Mapping[str, Any], model: str) -> str:
    verdict, result = record["verdicts"][model], record["models"][model]
    tags = {
        "model": model,
        "artifact_version": result["version"],
        "verdict": "passed" if verdict["passed"] else "refused",
        "reasons": "; ".join(verdict["reasons"])[:4000] or "none",
        **({mlflow_store.ORIGIN: record["origin"]} if record.get("origin") else {}),
        "log_loss": f"{record['metrics'][model]['log_loss']:.6f}",
    }
    _add_golden(client, record, model, result["run_id"])
    return mlflow_store.register(client, record["registered_name"], result["run_id"], tags=tags)


def _add_golden(client: Any, record: Mapping[str, Any], model: str, run_id: str) -> None:
    rows, p_click = record["golden"]["rows"], record["golden"]["p_click"]
    if model in p_click:
        golden = {"rows": rows, "p_click": p_click[model]}
        mlflow_store.add_to_model(client, run_id, GOLDEN, json.dumps(golden))


def _alias_version(client: Any, name: str, alias: str) -> str | None:
    aliases = dict(client.get_registered_model(name).aliases)
    return str(aliases[alias]) if alias in aliases else None


def _entry(
    record: Mapping[str, Any],
    model: str,
    versions: Mapping[str, str],
    winner: str | None,
    before: str | None,
) -> dict[str, Any]:
    verdict = record["verdicts"][model]
    decision = "passed" if verdict["passed"] else "refused"
    if model == winner:
        decision = "promoted"
    return {
        "decision": decision,
        "model": model,
        "registered_name": record["registered_name"],
        "version": versions[model],
        "run_id": record["models"][model]["run_id"],
        "previous_champion": before,
        "log_digest": record["log_digest"],
        "origin": record.get("origin"),
        "metrics": record["metrics"][model],
        "reasons": verdict["reasons"],
    }
