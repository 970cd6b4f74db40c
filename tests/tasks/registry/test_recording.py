"""One call records a training: what the run holds, and how it ends when something fails."""

import types

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from tasks.registry import recording
from tasks.registry.mlflow_store import connect
from tasks.registry.recording import record_training
from tasks.training.history import Epoch, History

HISTORY = History((Epoch(1, 0.5, 0.42, 0.7, 1.0), Epoch(2, 0.4, 0.41, 0.71, 1.1)), 2, 0.41)


def rows(n_rows):
    contract = types.SimpleNamespace(schema={"name": "small"})
    manifest = {"source": "sim://small", "log_digest": "d" * 64}
    return types.SimpleNamespace(contract=contract, manifest=manifest, n_rows=n_rows)


@pytest.fixture(scope="module")
def tracking(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    return {
        "tracking_uri": f"sqlite:///{folder / 'mlflow.db'}",
        "artifact_root": str(folder / "artifacts"),
        "experiment": "ctr",
    }


def record(tracking, folder):
    (folder / "model.json").write_text("{}")
    return record_training(
        tracking,
        "ftrl",
        params={"alpha": 0.1},
        history=HISTORY,
        metrics={"valid_log_loss": 0.41, "train_seconds": 2.5},
        train=rows(800),
        valid=rows(100),
        model=folder,
        tables={"trials.json": pd.DataFrame({"trial": [0]})},
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:For backward compatibility")  # of pandas, in MLflow's log_table
def test_the_run_holds_everything(tracking, tmp_path):
    """Parameters, every epoch, data, code, tables, the model; a figure and a table are added later."""
    done = record(tracking, tmp_path)
    done.attach("learning_curve.png", plt.figure())
    done.attach("top_values.json", pd.DataFrame({"value": ["a"]}))
    plt.close("all")
    client = connect(tracking["tracking_uri"])
    run = client.get_run(done.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"model": "ftrl", "alpha": "0.1"}
    assert run.data.metrics["train_seconds"] == 2.5
    steps = {m.step: m.value for m in client.get_metric_history(done.run_id, "valid_log_loss")}
    assert steps == {1: 0.42, 2: 0.41}
    dataset = run.inputs.dataset_inputs[0].dataset
    assert (dataset.name, dataset.digest) == ("small", "d" * 36)
    assert "clicklab.code_digest" in run.data.tags
    files = {file.path for file in client.list_artifacts(done.run_id)}
    assert files == {"model", "trials.json", "learning_curve.png", "top_values.json"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:For backward compatibility")
def test_a_record_that_fails_midway_is_a_failed_run(tracking, tmp_path, monkeypatch):
    """The error comes through, and nobody takes the run for complete."""

    def broken(*_):
        raise OSError("the disk is gone")

    monkeypatch.setattr(recording, "log_model", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        record(tracking, tmp_path)
    client = connect(tracking["tracking_uri"])
    (experiment,) = [e for e in client.search_experiments() if e.name == "ctr"]
    newest = client.search_runs([experiment.experiment_id], max_results=1)[0]
    assert newest.info.status == "FAILED"
