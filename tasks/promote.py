"""Promote the best model that passes its gates, or one that a person names; refuse the others, with reasons."""

import getpass
import hashlib
import json
import math
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.errors import ChangedError, GateError, InputError
from tasks.registry import mlflow_store
from tasks.registry.anchor import append_anchored, read_anchored
from tasks.registry.evaluation_record import record_verdicts
from tasks.registry.ledger import FORCED, MOVING, ledger_place
from tasks.registry.registration import (
    RENEWAL,
    SERVED_VERSION,
    add_golden,
    keep_renewed,
    known_versions,
    register_models,
)
from tasks.storage.files import write_atomic
from tasks.storage.workspace import resolve
from tasks.training.renewal import Renewed, renew, way_of

Renewal = Callable[[str, Path], Renewed]  # of the model of that name, into that folder


def promote(
    product: Any,
    upstream: Any,
    tracking: Mapping[str, str],
    renewal: Mapping[str, Any],
    engine: Any = "local",
    code: str = "",
) -> None:
    """Ploomber task: act on the verdicts of ``evaluate``, and let what is to serve learn the test rows too."""
    evaluation = Path(str(upstream["evaluate"]["evaluation"]))

    def renewed(model: str, folder: Path) -> Renewed:
        judged = Path(str(upstream["train-*"][f"train-{model}"]["model"])).parent
        features = Path(str(upstream["hash_features"]["manifest"])).parent
        knobs = {**renewal, "way": way_of(renewal, product["promotion"])}
        return renew(judged, features, folder, knobs=knobs, engine=engine)

    try:
        record = json.loads(evaluation.read_text())
        decision = decide(record, tracking, renewal=renewed if renewal["learn_test"] else None)
    except ChangedError:
        evaluation.unlink()  # so that the next run compares the models with the new champion
        raise
    write_atomic(Path(str(product["promotion"])), json.dumps(decision, indent=2))


def decide(
    record: Mapping[str, Any], tracking: Mapping[str, str], *, renewal: Renewal | None = None
) -> dict[str, Any]:
    """Register every model that passed, write the ledger, move the aliases, and return the decision.

    The model that :func:`tasks.evaluation.succession.choose` prefers among those that pass becomes ``champion``, the best other
    that passes ``challenger`` (else the champion before it). If none is preferred, the champion stays; so does a model of this evaluation that a person made
    champion (:func:`force`). Every model gets a line in the ledger, and its
    verdict with the reasons on its run; a registered one also its golden rows, with which a service that loads
    it from the registry proves it.

    With `renewal` the new champion learns the test rows too: its run then keeps two models, the one that was judged and the one
    that serves.

    The champion's alias moves last. Whatever ends this before, the old one serves, and the same call again ends as an undisturbed
    one would have, with the same lines in the ledger.

    Raises
    ------
    ChangedError
        If the champion is not the one the models were compared with.
    InputError
        If the ledger is damaged, or lines are missing at its end; nothing was written or moved then.
    """
    client = mlflow_store.connect(tracking["tracking_uri"])
    name, everyone = record["registered_name"], list(record["verdicts"])
    ledger, compared = ledger_place(tracking["ledger"]), record["champion_version"]
    entries = read_anchored(client, name, ledger)
    passing = [model for model in record["ranking"] if record["verdicts"][model]["passed"]]
    known = known_versions(client, record)
    before = mlflow_store.aliases(client, name).get(mlflow_store.CHAMPION)
    is_new = before != compared  # since the models were compared
    forced = _forced(name, known, before, entries) if is_new else None
    preferred = record.get("preferred", passing[0] if passing else None)
    winner = forced or (preferred if preferred in passing else None)
    already = winner is not None and before is not None and known[winner] == before
    if is_new and not already:
        raise ChangedError(
            f"the champion of {name} is {_version(before)} now, but the models were compared with "
            f"{_version(compared)}; run again, and they are compared with the new one"
        )
    if before is not None and not is_new:
        run_id = client.get_model_version(name, before).run_id
        add_golden(client, record, mlflow_store.CHAMPION, run_id)
    served = {}
    if winner is not None and not already:
        served[winner] = _renewed(client, record, winner, renewal)
    may_serve = [*passing, *([forced] if forced else [])]
    versions = register_models(client, record, may_serve, known, served=served)
    champion = versions[winner] if winner else before
    version = client.get_model_version(name, champion) if champion else None
    facts = _of_ledger(version.tags if version else {})
    decisions = {model: _decision(model, winner, passing) for model in everyone}
    lines = [
        _entry(record, model, decisions[model], versions.get(model))
        | (facts if model == winner else _of_ledger({}))
        for model in everyone
        if model != forced  # its line says who did it, and why
    ]
    append_anchored(client, name, ledger, lines)
    if forced:
        decisions[forced] = FORCED
    run_id = version.run_id if version else None
    record_verdicts(client, record, decisions=decisions, champion_run=run_id)
    if winner is not None and not already:
        others = [model for model in passing if model != winner]
        runner_up = versions[others[0]] if others else before
        mlflow_store.set_alias(client, name, mlflow_store.CHALLENGER, runner_up)
        mlflow_store.set_alias(client, name, mlflow_store.CHAMPION, champion)
    replaces = winner is not None and not forced and champion != compared
    return {
        "registered_name": name,
        "champion": winner or "(unchanged)",
        "champion_version": champion,
        "previous_version": compared,
        "forced": forced,
        **facts,
        "origin": record.get("origin") if winner else record.get("champion_origin"),
        "replaced_origin": record.get("champion_origin") if replaces else None,
        "refused": _refused(record, passing),
        "versions": versions,
    }


def force(
    evaluation: str | Path,
    tracking: Mapping[str, str],
    model: str,
    *,
    why: str,
    product: str | Path | None = None,
) -> str:
    """Make a model the champion whatever the gates say, and return its version; the ledger says who did it, and why.

    Parameters
    ----------
    evaluation
        What ``evaluate`` wrote.
    tracking
        ``tracking_uri`` and ``ledger`` as in ``env.yaml``.
    model
        One of the models that it compared.
    why
        The reason, a sentence.
    product
        What ``promote`` wrote; it goes before the champion changes, so that the next run takes note of it.

    Raises
    ------
    InputError
        If there is no evaluation or no such model, no reason is given, or the ledger is damaged.
    GateError
        If the model has no predictions, or they are no finite numbers.
    ChangedError
        If the champion is not the one the models were compared with.
    """
    if not why.strip():
        raise InputError('no reason is given; say WHY="...", it goes to the ledger')
    path = resolve(evaluation)
    if not path.is_file():
        raise InputError(f"{path}: nothing has been evaluated yet; `make run` first")
    record = json.loads(path.read_text())
    _check_can_serve(record, model)
    client = mlflow_store.connect(tracking["tracking_uri"])
    name, ledger = record["registered_name"], ledger_place(tracking["ledger"])
    read_anchored(client, name, ledger)
    known = known_versions(client, record)
    before = mlflow_store.aliases(client, name).get(mlflow_store.CHAMPION)
    if before != record["champion_version"] and before not in known.values():
        raise ChangedError(
            f"the champion of {name} is {_version(before)} now, but the models were compared with "
            f"{_version(record['champion_version'])}; `make run` compares them with the new one"
        )
    if known[model] is not None and known[model] == before:
        raise InputError(f"{model} is the champion already: {_version(before)} of {name}")
    versions = register_models(client, record, [model], known)
    entry = _entry(record, model, FORCED, versions[model]) | {"previous_champion": before}
    by = f"{getpass.getuser()}@{socket.gethostname()}"
    append_anchored(client, name, ledger, [entry | {"why": why.strip(), "by": by}])
    if product is not None:
        resolve(product).unlink(missing_ok=True)
    mlflow_store.set_alias(client, name, mlflow_store.CHALLENGER, before)
    mlflow_store.set_alias(client, name, mlflow_store.CHAMPION, versions[model])
    return versions[model]


def _check_can_serve(record: Mapping[str, Any], model: str) -> None:
    if model not in record["verdicts"]:
        models = ", ".join(record["ranking"]) or "none"
        raise InputError(f"there is no model {model!r} in the last evaluation; it has: {models}")
    if model in record.get("failed", {}):
        raise GateError(f"{model} cannot serve: {record['failed'][model]}")
    if not math.isfinite(record["metrics"][model]["log_loss"]):
        raise GateError(f"{model} cannot serve: its log loss is no finite number")


def _forced(
    name: str,
    known: Mapping[str, str | None],
    champion: str | None,
    entries: Sequence[Mapping[str, Any]],
) -> str | None:
    """Return the model of this evaluation that serves because a person made it champion; None if there is none."""
    models = [model for model, version in known.items() if version and version == champion]
    if not models:
        return None
    last = [
        entry["decision"]
        for entry in entries
        if (entry["registered_name"], entry["version"]) == (name, champion)
        and entry["decision"] in MOVING
    ]
    return models[0] if last and last[-1] == FORCED else None


def _renewed(
    client: Any, record: Mapping[str, Any], model: str, renewal: Renewal | None
) -> dict[str, str]:
    """Return the tags of a version whose model is to serve; a renewed one is stored with the judged one's run."""
    if renewal is None:
        return {}
    with tempfile.TemporaryDirectory(prefix="clicklab-renewed-") as folder:
        found = renewal(model, Path(folder))
        if found.model is None or found.p_click is None:
            return {RENEWAL: found.line}
        version = found.model.version
        keep_renewed(client, record, model, Path(folder), found.p_click, version)
    return {RENEWAL: found.line, SERVED_VERSION: version}


def _of_ledger(tags: Mapping[str, str]) -> dict[str, str | None]:
    """Return what the tags of a version say of what serves: the version of its files, and what it learned after the judgement."""
    return {"served_version": tags.get(SERVED_VERSION), "renewal": tags.get(RENEWAL)}


def _version(version: str | None) -> str:
    return "none" if version is None else f"version {version}"


def _refused(record: Mapping[str, Any], passing: list[str]) -> dict[str, list[str]]:
    verdicts = record["verdicts"].items()
    return {model: one["reasons"] for model, one in verdicts if model not in passing}


def _decision(model: str, winner: str | None, passing: list[str]) -> str:
    if model == winner:
        return "promoted"
    return "passed" if model in passing else "refused"


def _entry(
    record: Mapping[str, Any],
    model: str,
    decision: str,
    version: str | None,
) -> dict[str, Any]:
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    result = record["models"][model]
    return {
        "decision": decision,
        "evaluation": digest[:16],
        "model": model,
        "registered_name": record["registered_name"],
        "version": version,  # None for a model that was never registered
        "artifact_version": result["version"],
        "run_id": result["run_id"],
        "previous_champion": record["champion_version"],
        "log_digest": record["log_digest"],
        "origin": record.get("origin"),
        "metrics": record["metrics"].get(model, {}),
        "against_champion": record.get("paired", {}).get(model),
        "reasons": record["verdicts"][model]["reasons"],
    }
