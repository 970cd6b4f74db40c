"""The table that MLflow opens with: its columns, its filter, and the address of the page."""

import json
from typing import Any
from urllib.parse import quote

_KEY = "clicklab"  # of the view among those that MLflow keeps with an experiment
_COLUMNS = {  # in their order, with their widths
    "attributes.`Source`": 100,
    "attributes.`Dataset`": 130,
    "metrics.`test_log_loss`": 100,
    "metrics.`test_normalized_entropy`": 100,
    "metrics.`test_roc_auc`": 100,
    "metrics.`test_calibration_ratio`": 100,
    "metrics.`valid_log_loss`": 100,
    "params.`kind`": 70,
    "params.`alpha`": 90,
    "params.`search.method`": 90,
    "params.`bits`": 60,
    "tags.`clicklab.verdict`": 100,
}
_OF_THE_PIPELINE = "tags.`clicklab.interactive` = 'false'"


def experiment_tags() -> dict[str, str]:
    """Return the tags that tell MLflow's pages what an experiment is: training runs, the lower log loss the better."""
    view = {
        "selectedColumns": list(_COLUMNS),
        "columnOrder": list(_COLUMNS),
        "columnWidths": _COLUMNS,
        "searchFilter": _OF_THE_PIPELINE,
    }
    return {
        "mlflow.experimentKind": "custom_model_development",  # opens on the runs
        "mlflow.experiment.primaryMetric.name": "test_log_loss",
        "mlflow.experiment.primaryMetric.greaterIsBetter": "false",
        f"mlflow.sharedViewState.{_KEY}": json.dumps(view),
    }


def page_of(client: Any, experiment: str) -> str:
    """Return the part of an address after the server's that leads to the table of an experiment; empty without one."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return ""
    return f"/#/experiments/{found.experiment_id}/runs?viewStateShareKey={_KEY}&workflowType=machine_learning"


def comparison_of(experiment_id: str, run_ids: list[str]) -> str:
    """Return such a part that leads to the comparison of several runs of an experiment."""
    runs, experiments = (quote(json.dumps(ids)) for ids in (run_ids, [experiment_id]))
    return f"#/compare-runs?runs={runs}&experiments={experiments}"
