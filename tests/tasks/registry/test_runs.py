"""Runs and experiments: tagged for MLflow's pages, as long as the training was, filled in few calls."""

import json
import subprocess
import types

import pytest

from tasks.registry import runs
from tests.stores import mlflow_client


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    return mlflow_client(f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}")


@pytest.mark.slow
def test_an_experiment_gets_its_table_also_if_it_is_old(client, tmp_path):
    """One that an earlier version made opens like a new one; opening it again changes nothing."""
    old = client.create_experiment("old", tags={"mlflow.experimentKind": "genai_development"})
    for name in ("old", "new", "new"):
        number = runs.open_experiment(client, name, artifact_root=tmp_path)
        tags = client.get_experiment(number).tags
        assert tags["mlflow.experimentKind"] == "custom_model_development"
        assert json.loads(tags["mlflow.sharedViewState.clicklab"])["selectedColumns"]
    assert runs.open_experiment(client, "old") == old


@pytest.mark.slow
def test_a_run_lasts_as_long_as_its_training(client, tmp_path):
    """Not as long as it took to write it down; without a span it is timed."""
    with runs.training_run(
        client, "ctr", "fm", artifact_root=tmp_path, span=(10.0, 12.5)
    ) as run_id:
        assert client.get_run(run_id).info.status == "RUNNING"
    info = client.get_run(run_id).info
    assert (info.status, info.start_time, info.end_time) == ("FINISHED", 10_000, 12_500)
    with (
        pytest.raises(KeyError),
        runs.training_run(client, "ctr", "fm", span=(10.0, 12.5)) as run_id,
    ):
        raise KeyError("no")
    assert client.get_run(run_id).info.status == "FAILED"


@pytest.mark.slow
def test_more_metrics_than_fit_in_a_call_are_written(client, tmp_path):
    """A training of many epochs; the last step is what the run shows."""
    with runs.training_run(client, "ctr", "long", artifact_root=tmp_path) as run_id:
        runs.log_metrics(client, run_id, {step: {"a": step, "b": None} for step in range(1, 1503)})
    assert client.get_run(run_id).data.metrics == {"a": 1502.0}


def test_long_values_are_cut_to_what_mlflow_keeps():
    """Rather than refused after the training."""
    (param,) = runs.as_params({"space": "x" * 9000})
    (tag,) = runs.as_tags({"reasons": "x" * 9000})
    assert (len(param.value), len(tag.value)) == (6000, 5000)


@pytest.mark.parametrize(("status", "dirty"), [("", "false"), (" M tasks/cli.py", "true")])
def test_a_run_says_which_code_it_ran(monkeypatch, status, dirty):
    """The commit, and whether the tree differs from it."""

    def git(words, **_):
        text = "abc123\n" if "rev-parse" in words else status
        return types.SimpleNamespace(returncode=0, stdout=text)

    monkeypatch.setattr(subprocess, "run", git)
    tags = runs.code_version()
    assert tags["mlflow.source.git.commit"] == "abc123"
    assert tags["clicklab.code_dirty"] == dirty
    assert len(tags["clicklab.code_digest"]) == 16


def test_without_git_the_digest_of_the_code_remains(monkeypatch):
    """As in a container."""

    def missing(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", missing)
    assert set(runs.code_version()) == {"clicklab.code_digest"}
