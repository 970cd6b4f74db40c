"""Test metrics and tables on the models' runs: once, whatever is run again, and never by hand."""

from pathlib import Path

import pandas as pd
import pytest

from tasks.registry.evaluation_record import comparison_table, record_evaluation
from tasks.registry.runs import open_experiment
from tests.stores import mlflow_client

TABLES = {"fm": {"calibration": pd.DataFrame({"p_mean": [0.1], "y_mean": [0.2]})}}


def record_of(runs, **metrics):
    return {
        "ranking": list(runs),
        "models": {name: {"run_id": run_id, "version": f"{name}-v"} for name, run_id in runs.items()},
        "metrics": {name: {"log_loss": 0.4, **metrics} for name in [*runs, "champion"]},
        "verdicts": {name: {"passed": True, "reasons": []} for name in runs},
        "intervals": {"fm": {"value": 0.4, "low": 0.39, "high": 0.41}},
        "champion_version": "3",
        "log_digest": "d",
    }  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Tracking knobs, a client, and the runs of two models."""
    folder = tmp_path_factory.mktemp("mlflow")
    tracking = {"tracking_uri": f"sqlite:///{folder / 'mlflow.db'}"}
    client = mlflow_client(tracking["tracking_uri"])
    experiment = open_experiment(client, "ctr", artifact_root=folder / "artifacts")
    runs = {name: client.create_run(experiment).info.run_id for name in ("fm", "ftrl")}
    return tracking, client, runs


@pytest.mark.slow
def test_evaluating_again_adds_nothing_unless_a_number_changed(store):
    """Then the newest is what the run shows; NaN is a value like any other."""
    tracking, client, runs = store
    counts = []
    for loss in (0.4, 0.4, 0.3):
        record = record_of(runs, log_loss=loss, roc_auc=float("nan"))
        line = record_evaluation(
            tracking, record, product="products/evaluation.json", tables=TABLES
        )
        assert line == "test metrics and tables are on the runs of fm, ftrl"
        counts.append(len(client.get_metric_history(runs["fm"], "test_log_loss")))
    assert counts == [1, 1, 2]
    assert len(client.get_metric_history(runs["fm"], "test_roc_auc")) == 1
    assert client.get_run(runs["fm"]).data.metrics["test_log_loss"] == 0.3
    table = Path(client.download_artifacts(runs["fm"], "evaluation/calibration.csv")).read_text()
    assert table == "p_mean,y_mean\n0.1,0.2\n"


def test_an_evaluation_by_hand_writes_nothing(tmp_path):
    """No store is even opened."""
    record = record_of({"fm": "no such run"})
    tracking = {"tracking_uri": "nonsense://"}
    product = "products/scratch/evaluate/evaluation.json"
    assert "by hand" in record_evaluation(tracking, record, product=product, tables=TABLES)


def test_the_comparison_has_all_models_and_the_champion():
    """One row each, with what was decided."""
    table = comparison_table(
        record_of({"fm": "1", "ftrl": "2"}), {"fm": "promoted", "ftrl": "passed"}
    )
    assert table["model"].tolist() == ["fm", "ftrl", "champion"]
    assert table["decision"].tolist() == ["promoted", "passed", "serves"]
    assert table["version"].tolist() == ["fm-v", "ftrl-v", "3"]
    assert table.loc[0, "log_loss_low"] == 0.39
