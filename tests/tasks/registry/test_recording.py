"""One call records a training: what the run holds, its trials, and how it ends when something fails."""

import json
import types

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from tasks.registry import recording
from tasks.registry.mlflow_store import connect, register
from tasks.registry.recording import record_training
from tasks.training.history import Epoch, History
from tests.bentos.ctr.artifacts import artifact
from tests.stores import mlflow_client, mlflow_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:For backward compatibility"),  # of pandas, in MLflow's log_table
]  # fmt: skip

EPOCHS = (
    Epoch(1, 0.5, 0.42, 0.7, 1.0),
    Epoch(2, 0.4, 0.41, 0.71, 1.1),
    Epoch(3, 0.3, 0.43, 0.69, 1.2),
)
TRIALS = [
    {"params": {"alpha": 0.1}, "valid_log_loss": 0.41, "losses": [0.42, 0.41], "state": "complete"},
    {"params": {"alpha": 0.2}, "valid_log_loss": 0.6, "losses": [0.6], "state": "pruned"},
    {"params": {"alpha": 99.0}, "valid_log_loss": float("nan"), "losses": [], "state": "diverged"},
]  # fmt: skip
SEARCH = types.SimpleNamespace(
    trials=pd.DataFrame([{"trial": 0, "alpha": 0.1}]),
    records=[trial | {"seconds": 2.0, "started": 1000.0 + n} for n, trial in enumerate(TRIALS)],
    notes=["The best alpha lies at the upper edge."],
    settings={"search.method": "optuna", "search.n_trials": 3},
    decision="",
)


def rows(n_rows):
    contract = types.SimpleNamespace(schema={"name": "small"}, digest="c" * 12)
    manifest = {"source": "sim://small?rows=9", "origin": "sim://small", "log_digest": "d" * 64}
    return types.SimpleNamespace(
        contract=contract, manifest=manifest, n_rows=n_rows, folder="nowhere/train"
    )


@pytest.fixture(scope="module")
def tracking(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    return {
        "tracking_uri": f"sqlite:///{folder / 'mlflow.db'}",
        "artifact_root": str(folder / "artifacts"),
        "experiment": "ctr",
    }


def record(tracking, folder, *, epochs=EPOCHS, search=SEARCH):
    """Record a training whose second epoch was kept."""
    return record_training(
        tracking,
        "ftrl",
        params={"kind": "ftrl", "alpha": 0.1, "max_epochs": 3},
        history=History(epochs, 2, 0.41),
        metrics={"valid_log_loss": 0.41, "valid_roc_auc": 0.71, "train_seconds": 2.5},
        span=(1000.0, 1002.5),
        train=rows(800),
        valid=rows(100),
        model=artifact(folder),
        search=search,
    )


@pytest.fixture(scope="module")
def recorded(tracking, tmp_path_factory):
    """A client, the run, and the record of it."""
    done = record(tracking, tmp_path_factory.mktemp("project") / "models" / "ftrl")
    client = connect(tracking["tracking_uri"])
    return client, client.get_run(done.run_id), done


def test_the_run_holds_everything(recorded):
    """Every parameter, data, code, tables, the model; a figure and a table are added later."""
    client, run, done = recorded
    done.attach("learning_curve.png", plt.figure())
    done.attach("top_values.json", pd.DataFrame({"value": ["a"]}))
    plt.close("all")
    assert run.info.status == "FINISHED"
    assert run.data.params == {
        "model": "ftrl", "kind": "ftrl", "alpha": "0.1", "max_epochs": "3",
        "search.method": "optuna", "search.n_trials": "3",
    }  # fmt: skip
    dataset = run.inputs.dataset_inputs[0].dataset
    assert (dataset.name, dataset.digest) == ("small", "d" * 36)
    files = {file.path for file in client.list_artifacts(done.run_id)}
    assert files == {"model", "trials.json", "learning_curve.png", "top_values.json"}
    files = {file.path for file in client.list_artifacts(done.run_id, "model")}
    assert {"model/model.json", "model/MLmodel", "model/code"} <= files


def test_the_headline_is_that_of_the_model_that_was_kept(recorded):
    """The curve by epoch stays, and the last value of each metric is the kept one; the run took what training took."""
    client, run, _ = recorded
    steps = {m.step: m.value for m in client.get_metric_history(run.info.run_id, "valid_log_loss")}
    assert steps == {1: 0.42, 2: 0.41, 3: 0.43, 4: 0.41}
    headline = {
        "valid_log_loss": 0.41,
        "valid_roc_auc": 0.71,
        "train_log_loss": 0.4,
        "best_epoch": 2,
    }
    assert headline.items() <= run.data.metrics.items()
    assert "valid_auc" not in run.data.metrics
    assert (run.info.start_time, run.info.end_time) == (1_000_000, 1_002_500)


def test_if_the_last_epoch_was_kept_no_step_is_added(tracking, tmp_path):
    """There is nothing to put right."""
    done = record(tracking, tmp_path / "ftrl", epochs=EPOCHS[:2], search=None)
    history = done.client.get_metric_history(done.run_id, "valid_log_loss")
    assert [(m.step, m.value) for m in history] == [(1, 0.42), (2, 0.41)]


def test_a_run_is_named_and_tagged(recorded):
    """Task, data, code, who ran it, and what the search found at an edge."""
    _, run, _ = recorded
    tags = {
        "clicklab.task": "train-ftrl", "clicklab.interactive": "false", "clicklab.schema": "small",
        "clicklab.origin": "sim://small", "clicklab.log_digest": "d" * 64,
        "clicklab.search_edge": "The best alpha lies at the upper edge.",
        "mlflow.source.name": "notebooks/train.ipynb",
    }  # fmt: skip
    assert tags.items() <= run.data.tags.items()
    assert run.info.run_name == "ftrl"
    assert "clicklab.code_digest" in run.data.tags
    assert "upper edge" in run.data.tags["mlflow.note.content"]


def test_a_run_by_hand_is_named_so(tracking, tmp_path):
    """What a notebook writes in the scratch place came from a person."""
    (tmp_path / "log").mkdir()
    done = record(tracking, tmp_path / "scratch" / "train" / "models" / "ftrl", search=None)
    run = done.client.get_run(done.run_id)
    assert run.info.run_name == "ftrl (run by hand)"
    assert run.data.tags["clicklab.interactive"] == "true"


def test_each_trial_is_a_run_below_its_study(recorded):
    """With parameters, loss by epoch, state and the time that it took."""
    client, run, _ = recorded
    below = f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    children = client.search_runs([run.info.experiment_id], below, order_by=["start_time ASC"])
    states = [(child.info.run_name, child.info.status) for child in children]
    assert states == [
        ("trial 0: complete", "FINISHED"), ("trial 1: pruned", "KILLED"), ("trial 2: diverged", "FAILED"),
    ]  # fmt: skip
    assert [child.data.params for child in children] == [
        {"alpha": "0.1"}, {"alpha": "0.2"}, {"alpha": "99.0"},
    ]  # fmt: skip
    assert [child.data.metrics.get("valid_log_loss") for child in children] == [0.41, 0.6, None]
    assert children[0].info.end_time - children[0].info.start_time == 2000
    assert children[0].data.tags["clicklab.interactive"] == "false"


def test_the_model_is_among_mlflows_models(recorded):
    """With parameters, the kept model's metrics and the data that they were measured on."""
    client, run, _ = recorded
    (listed,) = [
        model
        for model in client.search_logged_models([run.info.experiment_id])
        if model.source_run_id == run.info.run_id
    ]
    assert (listed.name, str(listed.status)) == ("ftrl", "READY")
    found = {metric.key: metric for metric in listed.metrics}
    assert found["valid_log_loss"].value == 0.41
    assert found["valid_log_loss"].dataset_name == "small"
    assert listed.params["kind"] == "ftrl"
    assert listed.tags["mlflow.model.isExternal"] == "true"


def test_a_record_that_fails_midway_is_a_failed_run(tracking, tmp_path, monkeypatch):
    """The error comes through, and nobody takes the run for complete."""

    def broken(*_):
        raise OSError("the disk is gone")

    monkeypatch.setattr(recording, "log_model", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        record(tracking, tmp_path / "ftrl", search=None)
    client = connect(tracking["tracking_uri"])
    (experiment,) = [e for e in client.search_experiments() if e.name == "ctr-sim-small"]
    failed = client.search_runs([experiment.experiment_id], "attributes.status = 'FAILED'")
    assert [run.info.run_name for run in failed if run.info.run_name == "ftrl"] == ["ftrl"]


def test_a_server_takes_the_same_record(tmp_path):
    """Run, trials, files and the listed model; which says, once registered, as what."""
    with mlflow_server(tmp_path / "server") as address:
        tracking = {"tracking_uri": address, "experiment": "ctr"}
        done = record(tracking, tmp_path / "ftrl")
        client = mlflow_client(address)
        run = client.get_run(done.run_id)
        assert run.data.metrics["valid_log_loss"] == 0.41
        version = register(client, "ctr-small", done.run_id, tags={})
        listed = client.search_logged_models([run.info.experiment_id])[0]
        named = [{"name": "ctr-small", "version": version}]
        assert json.loads(listed.tags["mlflow.modelVersions"]) == named
        n_runs = len(client.search_runs([run.info.experiment_id]))
        assert n_runs == 1 + len(TRIALS)
