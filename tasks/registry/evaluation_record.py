"""What the evaluation found, on the MLflow runs of the models that it judged."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tasks.registry.mlflow_store import connect
from tasks.registry.runs import as_tags, log_metrics
from tasks.registry.table_view import comparison_of
from tasks.storage.workspace import is_scratch

FOLDER = "evaluation"  # of a run's artifacts
_SHOWN = ("log_loss", "normalized_entropy", "roc_auc", "calibration_ratio")


def record_evaluation(
    tracking: Mapping[str, str],
    record: Mapping[str, Any],
    *,
    product: str,
    tables: Mapping[str, Mapping[str, pd.DataFrame]],
) -> str:
    """Write test metrics and tables to the run of each model, and return a line that says so.

    Evaluating again changes nothing unless a number did. An evaluation by hand leaves the pipeline's runs alone.

    Parameters
    ----------
    tracking
        ``tracking_uri`` as in ``env.yaml``.
    record
        Returned by :func:`tasks.evaluation.comparison.evaluation_record`.
    product
        Where the evaluation writes that record; a scratch place if a person runs it.
    tables
        By model, tables by name, such as ``calibration``; each becomes a CSV.

    Raises
    ------
    ConfigError, UnavailableError
        As :func:`tasks.registry.mlflow_store.connect`.
    """
    if is_scratch(product):
        return "run by hand: nothing is written to the models' runs"
    client = connect(tracking["tracking_uri"])
    for model in record["ranking"]:
        run_id = record["models"][model]["run_id"]
        metrics = {f"test_{key}": value for key, value in record["metrics"][model].items()}
        _log_test_metrics(client, run_id, metrics)
        for name, table in tables.get(model, {}).items():
            client.log_text(run_id, table.to_csv(index=False), f"{FOLDER}/{name}.csv")
    return f"test metrics and tables are on the runs of {', '.join(record['ranking'])}"


def record_verdicts(
    client: Any,
    record: Mapping[str, Any],
    *,
    decisions: Mapping[str, str],
    champion_run: str | None,
) -> None:
    """Write verdict and reasons to the run of each model, and the comparison of all to those runs and the champion's.

    Parameters
    ----------
    client
        Of :func:`tasks.registry.mlflow_store.connect`.
    record
        Returned by :func:`tasks.evaluation.comparison.evaluation_record`.
    decisions
        "promoted", "forced", "passed" or "refused", by model.
    champion_run
        The run of the model that serves after the decision, if there is one.
    """
    known = {model: record["models"][model]["run_id"] for model in record["verdicts"]}
    runs = {model: str(run_id) for model, run_id in known.items() if run_id is not None}
    everyone = list(dict.fromkeys([*runs.values(), *([champion_run] if champion_run else [])]))
    table = comparison_table(record, decisions).to_csv(index=False)
    for run_id in everyone:
        client.log_text(run_id, table, f"{FOLDER}/comparison.csv")
    for model, run_id in runs.items():
        run = client.get_run(run_id)
        reasons = "; ".join(record["verdicts"][model]["reasons"])
        page = comparison_of(run.info.experiment_id, everyone)
        note = _without_verdict(run.data.tags.get("mlflow.note.content", ""))
        tags = {
            "clicklab.verdict": decisions[model],
            "clicklab.reasons": reasons or "none",
            "mlflow.note.content": f"{note}\n\n{_VERDICT} {_sentence(decisions[model], reasons)} "
            f"[Compare it with the others]({page}), or see `{FOLDER}/comparison.csv` among its artifacts.",
        }
        client.log_batch(run_id, tags=as_tags(tags))


def comparison_table(record: Mapping[str, Any], decisions: Mapping[str, str]) -> pd.DataFrame:
    """Return one row per model, best first, and one of the champion that they were compared with."""
    rows = []
    for model, metrics in record["metrics"].items():
        result = record["models"].get(model, {})
        interval = record.get("intervals", {}).get(model, {})
        rows.append(
            {
                "model": model,
                "decision": decisions.get(model, "serves"),
                **{key: metrics[key] for key in _SHOWN if key in metrics},
                "log_loss_low": interval.get("low"),
                "log_loss_high": interval.get("high"),
                "version": result.get("version") or record.get("champion_version"),
                "run_id": result.get("run_id"),
                "log_digest": record["log_digest"],
                "reasons": "; ".join(record["verdicts"].get(model, {}).get("reasons", [])),
            }
        )
    return pd.DataFrame(rows).round(6)


_VERDICT = "**Verdict:**"


def _without_verdict(note: str) -> str:
    return note.partition(_VERDICT)[0].rstrip()


def _sentence(decision: str, reasons: str) -> str:
    if decision == "refused":
        return f"refused, because {reasons}."
    if decision == "forced":
        return f"promoted to champion by hand, although {reasons or 'another was better'}."
    return {"promoted": "promoted to champion.", "passed": "passed all gates."}[decision]


def _log_test_metrics(client: Any, run_id: str, metrics: Mapping[str, float]) -> None:
    """Write the metrics that the run does not have yet with these values; also to its logged model."""
    run = client.get_run(run_id)
    known = run.data.metrics
    new = {key: value for key, value in metrics.items() if not _same(known.get(key), value)}
    if not new:
        return
    listed = run.outputs.model_outputs if run.outputs else []
    data = [used.dataset for used in run.inputs.dataset_inputs] if run.inputs else []
    log_metrics(
        client,
        run_id,
        {0: new},
        model_id=listed[0].model_id if listed else None,
        data=(data[0].name, data[0].digest) if data else None,
    )


def _same(known: float | None, value: float) -> bool:
    return known is not None and (known == value or (known != known and value != value))
