"""Two pipelines on one team's store: MLflow's server on PostgreSQL and S3, which goes away while they run."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tasks.registry.mlflow_store import CHAMPION
from tests.conftest import copy_project, free_port, stop_group
from tests.postgres import PASSWORD, postgres
from tests.stores import s3_server
from tests.tasks.registry.local_store import client_of, page

pytestmark = pytest.mark.slow
EXPERIMENT = "ctr-sim-avazu"
BUILD = """
import sys
from tasks.pipeline.build import load_dag
from tasks.pipeline.executor import TasksFailed
from tasks.knobs.reading import read_env

try:
    load_dag(read_env("env.tiny.yaml")).build_partially(sys.argv[1])
except TasksFailed as error:
    print(error)
    sys.exit(error.failures[0].exit_code)
"""


def start(project: Path, *words: str, **environment: str) -> subprocess.Popen:
    """Start a command of the project's own copy of the library; its output goes to a file beside it."""
    own = {
        "PYTHONPATH": str(project),
        "BENTOML_HOME": str(project / "bentoml"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "160",
    }
    with (project / "output.log").open("w") as out:
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", *words],
            cwd=project,
            env=os.environ | own | environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def wait(process: subprocess.Popen, project: Path) -> tuple[int, str]:
    code = process.wait(timeout=900)
    return code, (project / "output.log").read_text()


def test_two_pipelines_at_once_while_the_server_restarts(tmp_path, monkeypatch):
    """Neither loses a run; both share one study; no password is in what they write."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    projects = [copy_project(tmp_path / name) for name in ("ann", "bob")]
    with postgres() as server, s3_server(monkeypatch), ExitStack() as ends:
        for name in ("mlflow", "optuna"):
            server.create(name)
        place = {"STORE": server.address("mlflow"), "ARTIFACTS": "s3://bucket/artifacts"}
        port, log = free_port(), tmp_path / "server.log"
        url = f"http://127.0.0.1:{port}"
        team = {"MLFLOW_TRACKING_URI": url, "OPTUNA_STORAGE": server.address("optuna")}

        def promote(project: Path) -> subprocess.Popen:
            process = start(project, "-c", BUILD, "promote", **team)
            ends.callback(stop_group, process)
            return process

        with page(log, port=port, **place):
            runs = [promote(project) for project in projects]
            client = client_of(url)
            while client.get_experiment_by_name(EXPERIMENT) is None:
                assert all(run.poll() is None for run in runs)
                time.sleep(0.2)
        time.sleep(2)  # the server is gone, and trainings go on
        with page(log, port=port, **place):
            for run, project in zip(runs, projects, strict=True):
                code, output = wait(run, project)
                if code:  # the other pipeline promoted first, and this one does as the line says
                    assert "run again, and they are compared with the new one" in output, output
                    code, output = wait(promote(project), project)
                assert code == 0, output
            number = client.get_experiment_by_name(EXPERIMENT).experiment_id
            found = client.search_runs([number])
            version = client.get_model_version_by_alias("ctr-avazu", CHAMPION)
        trained = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
        names = sorted(run.info.run_name for run in trained)
        assert names == sorted(["fm", "ftrl", "sgd", "sgd_optuna"] * 2)
        assert {run.info.status for run in found} == {"FINISHED"}
        assert version.run_id in {run.info.run_id for run in trained}
        assert n_trials(server.address("optuna")) == 2  # as env.tiny.yaml says, of both together
    for project in projects:
        texts = [
            path.read_text()
            for path in (project / "products").rglob("*")
            if path.suffix in (".html", ".json", ".log", ".ipynb")
        ]
        assert len(texts) > 20
        assert not [text for text in texts if PASSWORD in text]


def n_trials(address: str) -> int:
    import optuna

    storage = optuna.storages.RDBStorage(address.replace("postgresql:", "postgresql+psycopg2:"))
    (name,) = optuna.get_all_study_names(storage)
    trials = optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)
    storage.engine.dispose()
    return sum(trial.state.is_finished() for trial in trials)


def test_a_run_without_its_server_ends_with_one_line_and_code_8_and_resumes(tmp_path):
    """Before anything is computed; with the server back, the same command goes through its first tasks."""
    project = copy_project(tmp_path / "ann")
    team = {
        "MLFLOW_TRACKING_URI": f"http://ann:pa55@127.0.0.1:{free_port()}",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    }
    code, output = wait(
        start(project, "-m", "tasks.cli", "run", "--env", "env.tiny.yaml", **team), project
    )
    lines = [line for line in output.splitlines() if line.startswith("error:")]
    assert code == 8, output
    assert len(lines) == 1
    assert "cannot be reached just now" in lines[0]
    assert "Traceback" not in output
    assert "pa55" not in output
    assert not (project / "products/tiny/log").exists()


@pytest.mark.nightly
def test_a_run_whose_server_stays_away_midway_ends_with_code_8_and_resumes(tmp_path):
    """What was computed before is kept; with the server back, the same command does the rest, once."""
    project = copy_project(tmp_path / "ann")
    port, log = free_port(), tmp_path / "server.log"
    url, store = f"http://127.0.0.1:{port}", f"sqlite:///{tmp_path}/team.db"
    place = {"STORE": store, "ARTIFACTS": str(tmp_path / "artifacts")}
    team = {"MLFLOW_TRACKING_URI": url, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    train = ("-c", BUILD, "train-ftrl")
    with page(log, port=port, **place):
        run = start(project, *train, **team)
        while not (project / "products/tiny/log/manifest.json").exists():
            assert run.poll() is None, (project / "output.log").read_text()
            time.sleep(0.2)
    code, output = wait(run, project)
    assert code == 8, output
    assert "train-ftrl: " in output and "cannot be reached just now" in output
    features = project / "products/tiny/features/manifest.json"
    hashed = features.stat().st_mtime_ns
    with page(log, port=port, **place):
        code, output = wait(start(project, *train, **team), project)
        assert code == 0, output
        client = client_of(url)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        found = client.search_runs([experiment.experiment_id])
    assert [(run.info.run_name, run.info.status) for run in found] == [("ftrl", "FINISHED")]
    assert features.stat().st_mtime_ns == hashed
