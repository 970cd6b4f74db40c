"""A local store with one of everything, and the team's page on another."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import optuna

from tasks.registry import mlflow_store, runs
from tasks.registry.ledger import append_decision
from tasks.registry.migration.migrate import Place, source_place
from tests.conftest import ROOT, free_port, stop_group


def local_store(folder: Path, empty_store: Path) -> Place:
    """Fill a store in `folder`: a parent with two nested runs, a deleted one, a model with two versions, a study."""
    folder.mkdir(parents=True)
    shutil.copy(empty_store, folder)
    address = f"sqlite:///{folder}/mlflow.db"
    client = client_of(address)
    number = runs.open_experiment(client, "ctr", artifact_root=folder / "artifacts")
    with runs.training_run(client, "ctr", "ftrl") as parent:
        runs.log_params(client, parent, {"alpha": 0.1, "bits": 20})
        runs.log_metrics(client, parent, {n: {"loss": 1 / n} for n in (1, 2, 3)})
        runs.log_metrics(client, parent, {3: {"loss": float("nan")}})
        data = {"name": "avazu", "source": "sim://avazu", "digest": "d" * 64}
        runs.log_dataset(client, parent, rows={"train": 10}, **data)
        client.log_text(parent, "weights", "model/model.json")
        client.log_text(parent, "an umlaut", "figures/ü 1.txt")
    for trial in range(2):
        child = client.create_run(number, tags={"mlflow.parentRunId": parent, "n": str(trial)})
        client.set_terminated(child.info.run_id)
    client.delete_run(client.create_run(number).info.run_id)
    model = client.create_logged_model(number, name="ftrl", source_run_id=parent)
    client.finalize_logged_model(model.model_id, "READY")
    version = mlflow_store.register(client, "ctr-avazu", parent, tags={"verdict": "passed"})
    client.set_registered_model_alias("ctr-avazu", "champion", version)
    for decision in ("promoted", "refused"):
        append_decision(folder / "ledger.jsonl", {"decision": decision, "run_id": parent})
    study = optuna.create_study(storage=f"sqlite:///{folder}/optuna.db", study_name="s")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    study.ask()  # its worker died
    return source_place({}, address)


def client_of(address: str) -> Any:
    """Return a client of a store; MLflow's note of where it connected to last is removed."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    try:
        return mlflow_store.connect(address)
    finally:
        os.environ.pop("MLFLOW_TRACKING_URI", None)


@contextmanager
def page(log: Path, *, port: int | None = None, **environment: str) -> Iterator[str]:
    """Run `make ui` as a person would and yield the server's address; STORE, ARTIFACTS name the store."""
    port = port or free_port()
    with log.open("a") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "tasks.cli", "ui", "--port", str(port)],
            cwd=ROOT,
            env=os.environ | environment | {"DO_NOT_TRACK": "1"},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            try:
                urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop_group(server)
