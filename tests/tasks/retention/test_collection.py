"""What nothing uses goes, and nothing else; on a real MLflow store."""

import json
import os
import time
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from tasks.errors import InputError, UnavailableError
from tasks.registry import mlflow_store
from tasks.registry.anchor import append_anchored
from tasks.registry.mlflow_store import ARTIFACT_VERSION
from tasks.registry.runs import open_experiment
from tasks.retention.collection import removable, remove
from tasks.retention.models import REMOVED
from tasks.storage.locks import lock_or_holder
from tests.stores import mlflow_client

pytestmark = pytest.mark.slow  # MLflow makes a database
NAME = "ctr-avazu"
LONG_AGO = 20 * 86400  # seconds


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store, and its client."""
    folder = tmp_path_factory.mktemp("mlflow")
    return folder, mlflow_client(f"sqlite:///{folder / 'mlflow.db'}")


@pytest.fixture
def project(store, tmp_path, monkeypatch, request):
    """The knobs of a project of its own, with its registered model; and functions that fill it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline.yaml").touch()
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / ".bentos"))
    name = f"t{abs(hash(request.node.name))}"
    monkeypatch.setattr(mlflow_store, "registered_name", lambda _: f"ctr-{name}")
    return Project(store, tmp_path, name)


class Project:
    """Runs with models, versions, Bentos and products, all made long ago."""

    def __init__(self, store, folder, name):
        self.client, self.folder, self.name = store[1], folder, f"ctr-{name}"
        self.experiment = open_experiment(self.client, name, artifact_root=store[0] / name)
        self.env = {
            "products": "products",
            "schema": "tasks/schemas/avazu.yaml",
            "bento": {"name": "ctr"},
            "mlflow": {
                "tracking_uri": f"sqlite:///{store[0] / 'mlflow.db'}",
                "experiment": name,
                "ledger": str(folder / "ledger.jsonl"),
            },
            "keep": {"days": 0, "bentos": 1, "models": 1, "pointers": []},
        }
        (folder / "tasks/schemas").mkdir(parents=True)

    def run(self, number, *, registered=True, version=None):
        """Make a run with a model of 9 bytes, the higher the number the newer; return its id and version."""
        started = int(1000 * (time.time() - LONG_AGO)) + 1000 * number
        tags = {"clicklab.task": "train-ftrl", ARTIFACT_VERSION: version or f"{number:012d}"}
        run_id = self.client.create_run(self.experiment, start_time=started, tags=tags).info.run_id
        self.client.log_text(run_id, "12345678\n", "model/model.json")
        self.client.log_text(run_id, "what it was made of", "lineage.json")
        self.client.set_terminated(run_id)
        tags = {"artifact_version": f"{number:012d}"}
        if not registered:
            return run_id, None
        return run_id, mlflow_store.register(self.client, self.name, run_id, tags=tags)

    def bento(self, number, version="0"):
        """Make a Bento as BentoML would leave it; return its tag."""
        folder = self.folder / f".bentos/bentos/ctr/b{number}"
        folder.mkdir(parents=True)
        made = datetime.now(UTC) - timedelta(days=20 - number)
        about = {"service": "service:CTR", "bentoml_version": "1.4.39", "name": "ctr", "version": f"b{number}", "creation_time": made, "labels": {"version": version}}  # fmt: skip
        (folder / "bento.yaml").write_text(yaml.safe_dump(about))
        return f"ctr:b{number}"

    def product(self, name, content="", *, age_s=LONG_AGO):
        """Write a product as of long ago."""
        path = self.folder / "products" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        os.utime(path, (time.time() - age_s,) * 2)
        return path

    def shown(self, kind):
        """Return what can go of a kind, as it is named."""
        return [one.name for one in removable(self.env) if one.kind == kind]


@pytest.fixture(autouse=True)
def schema(monkeypatch):
    """No schema is read: the name of the model is the test's."""
    monkeypatch.setattr("tasks.retention.collection.load_schema", lambda path: path)


def test_models_that_nothing_needs_go_and_their_runs_stay(project):
    """Alias, former champion of the ledger, product, pointer, Bento and the newest stay; then files and versions are gone."""
    runs = [project.run(number) for number in range(8)]
    project.client.set_registered_model_alias(project.name, "champion", runs[0][1])
    decision = {"registered_name": project.name, "model": "ftrl", "decision": "promoted"}
    line = decision | {"version": runs[0][1], "previous_champion": runs[1][1]}
    append_anchored(project.client, project.name, project.folder / "ledger.jsonl", [line])
    project.product("train-ftrl.json", json.dumps({"run_id": runs[2][0]}))
    pointer = {"version": "x", "folder": "x", "history": [{"version": f"{3:012d}", "folder": "y"}]}
    (project.folder / "pointer.json").write_text(json.dumps(pointer))
    project.env["keep"]["pointers"] = [str(project.folder / "pointer.json")]
    project.bento(1, version=f"{4:012d}")
    gone = [f"train-ftrl {run_id} (version {number})" for run_id, number in runs[6:4:-1]]
    assert project.shown("model") == gone
    found = removable(project.env)
    assert [one.n_bytes for one in found] == [9, 9]
    assert remove(project.env, found, tell=pytest.fail) == 18
    left = project.client.search_model_versions(f"name='{project.name}'")
    assert {str(one.version) for one in left} == {runs[n][1] for n in (0, 1, 2, 3, 4, 7)}
    for run_id, _ in runs[5:7]:
        assert [one.path for one in project.client.list_artifacts(run_id)] == ["lineage.json"]
        assert REMOVED in project.client.get_run(run_id).data.tags
    assert removable(project.env) == []


def test_what_is_young_or_was_promoted_meanwhile_stays(project):
    """Between showing and removing a model may have become the champion."""
    old, _, _ = (project.run(number) for number in range(3))
    assert len(project.shown("model")) == 2
    found = removable(project.env)
    project.client.set_registered_model_alias(project.name, "champion", old[1])
    said = []
    assert remove(project.env, found, tell=said.append) == 9
    assert len(said) == 1 and "is in use now, and stays" in said[0]
    project.run(-5, registered=False)
    assert len(project.shown("model")) == 1
    project.env["keep"]["days"] = 30
    assert removable(project.env) == []


def test_bentos_that_nothing_needs_go(project):
    """Not the newest, a packaged one, that of a champion, or one that a process serves."""
    _, version = project.run(0)
    project.client.set_registered_model_alias(project.name, "champion", version)
    tags = [project.bento(number, version=f"v{number}") for number in range(3)]
    project.bento(3, version=f"{0:012d}")
    project.bento(4)
    project.product("tiny/package.json", json.dumps({"bento": tags[0]}))
    assert project.shown("Bento") == ["ctr:b2", "ctr:b1"]
    found = [one for one in removable(project.env) if one.name == "ctr:b1"]
    assert remove(project.env, found, tell=pytest.fail) > 0
    assert not (project.folder / ".bentos/bentos/ctr/b1").exists()
    project.env["keep"]["bentos"] = 3
    assert project.shown("Bento") == []


def test_leftovers_of_the_products_go(project):
    """Checkpoints, bad rows of refused logs, parts of files: once they are old."""
    project.env["keep"]["days"] = 14
    for name in ("train-fm.checkpoint.npz", "log-refused-quarantine.parquet", ".x.json.ab.partial"):
        project.product(name, "12")
    project.product("train-sgd.checkpoint.npz", age_s=60)
    project.product("log/quarantine.parquet")
    found = removable(project.env)
    assert remove(project.env, found, tell=pytest.fail) == 6
    left = {path.name for path in (project.folder / "products").rglob("*") if path.is_file()}
    assert left == {"train-sgd.checkpoint.npz", "quarantine.parquet", ".run.lock"}


def test_nothing_goes_while_a_run_is_at_work_or_the_ledger_is_damaged(project):
    """What they need is not known then."""
    project.product("train-fm.checkpoint.npz")
    found = removable(project.env)
    with (
        lock_or_holder(project.folder / "products/logs/run"),
        pytest.raises(UnavailableError, match="is at work on products"),
    ):
        remove(project.env, found, tell=pytest.fail)
    (project.folder / "ledger.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match="line 1 was changed"):
        removable(project.env)
