"""A champion keeps its place against models of other data, unless it is replaced on purpose."""

import json
import os

import pytest
import yaml

from tasks.simulation.simulate import write_csv
from tests.conftest import copy_project, keep_tasks
from tests.test_pipeline import clicklab

pytestmark = pytest.mark.slow

ENV = "env.small.yaml"
FIXED = {"kind": "ftrl", "params": {}, "search": {"method": "fixed"}}
KNOBS = {
    "products": "products/small",
    "hash": {"bits": 14, "batch_rows": 4096, "trial_rows": 1000},
    "models": {"ftrl": FIXED},
    "training": {"max_epochs": 1},
    "evaluation": {"n_resamples": 5, "n_golden": 8},
    "gates": {
        "calibration_ratio": [0.2, 5.0],
        "slice_calibration_ratio": [0.1, 9.0],
        "unseen_calibration_ratio": [0.1, 9.0],
        "max_undetected_loss": 1.0,
    },
    "mlflow": {
        "tracking_uri": "sqlite:///products/small/store/mlflow.db",
        "artifact_root": "products/small/store/artifacts",
        "ledger": "products/small/store/ledger.jsonl",
    },
    "bento": {"name": "ctr_small"},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project whose champion learned from a log of one's own."""
    folder = copy_project(tmp_path_factory.mktemp("project"))
    keep_one_model(folder)
    (folder / ENV).write_text(yaml.safe_dump(KNOBS, sort_keys=False))
    (folder / "clicks").mkdir()
    write_csv(folder / "clicks" / "2026-11-27.csv", 5000, seed=11)
    done = clicklab(folder, "run", "--env", ENV, "--data", "clicks/2026-11-27.csv")
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def keep_one_model(folder) -> None:
    """Leave one training in the copy, and no exploration, so that three runs are quick."""
    keep_tasks(folder, without={"explore", "train-sgd", "train-sgd_optuna", "train-fm"})
    knobs = yaml.safe_load((folder / "env.yaml").read_text())
    (folder / "env.yaml").write_text(yaml.safe_dump(knobs | {"models": KNOBS["models"]}))


def read(project, name: str) -> dict:
    return json.loads((project / "products/small" / name).read_text())


def test_a_forgotten_data_replaces_no_champion_and_a_purpose_does(project):
    """DATA= left out: all models are refused with the two origins, and the Bento stays. ALLOW_OTHER_DATA=1: said and done."""
    before = read(project, "promotion.json")
    packaged = read(project, "package.json")
    assert (before["origin"], packaged["origin"]) == ("clicks", "clicks")
    forgotten = clicklab(project, "run", "--env", ENV, "--data", "sim://avazu?rows=5000&seed=3")
    assert forgotten.returncode == 0, forgotten.stderr[-4000:]
    shown = " ".join(forgotten.stdout.split())
    assert "it learned from sim://avazu, the champion from clicks; to replace it" in shown
    after = read(project, "promotion.json")
    assert after["champion_version"] == before["champion_version"]
    assert set(after["refused"]) == set(KNOBS["models"])
    assert read(project, "package.json")["version"] == packaged["version"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "ALLOW_OTHER_DATA", "1")
        purpose = clicklab(project, "run", "--env", ENV, "--data", "sim://avazu?rows=5000&seed=3")
    assert purpose.returncode == 0, purpose.stderr[-4000:]
    assert "replaces a champion of other data (clicks)" in " ".join(purpose.stdout.split())
    now = read(project, "promotion.json")
    assert now["champion_version"] != before["champion_version"]
    assert (now["origin"], now["replaced_origin"]) == ("sim://avazu", "clicks")
    assert read(project, "package.json")["origin"] == "sim://avazu"


def test_each_origin_has_its_experiment_and_its_versions_say_it(project, monkeypatch):
    """Losses on different data do not stand in one table."""
    monkeypatch.chdir(project)
    from tasks.registry import mlflow_store

    client = mlflow_store.connect(KNOBS["mlflow"]["tracking_uri"])
    names = {experiment.name for experiment in client.search_experiments()}
    assert {"ctr-clicks", "ctr-sim-avazu"} <= names
    found = client.get_model_version_by_alias("ctr-avazu", "champion")
    assert found.tags[mlflow_store.ORIGIN] == read(project, "promotion.json")["origin"]
