"""Two pipelines on one team's store: MLflow's server on PostgreSQL and S3, which goes away while they run."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.registry.mlflow_store import CHAMPION
from tests.conftest import copy_project, free_port, stop_group
from tests.postgres import PASSWORD, postgres
from tests.stores import s3_server
from tests.tasks.registry.local_store import client_of, page

pytestmark = pytest.mark.slow
RIVAL = (
    "but the models were compared with"  # the other pipeline promoted first: said, and what to do
)


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
            [sys.executable, "-m", *words],
            cwd=project,
            env=os.environ | own | environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def wait(process: subprocess.Popen, project: Path) -> tuple[int, str]:
    try:
        code = process.wait(timeout=400)
    finally:
        if process.poll() is None:
            stop_group(process)
    return code, (project / "output.log").read_text()


def test_two_pipelines_at_once_while_the_server_restarts(tmp_path, monkeypatch):
    """Neither loses a run; both share one study; no password is in what they write."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    projects = [copy_project(tmp_path / name) for name in ("ann", "bob")]
    with postgres() as server, s3_server(monkeypatch):
        for name in ("mlflow", "optuna"):
            server.create(name)
        place = {"STORE": server.address("mlflow"), "ARTIFACTS": "s3://bucket/artifacts"}
        port, log = free_port(), tmp_path / "server.log"
        url = f"http://127.0.0.1:{port}"
        team = {"MLFLOW_TRACKING_URI": url, "OPTUNA_STORAGE": server.address("optuna")}
        words = ("tasks.cli", "run", "--env", "env.tiny.yaml")
        with page(log, port=port, **place):
            runs = [start(project, *words, **team) for project in projects]
            client = client_of(url)
            deadline = time.monotonic() + 200
            while (
                client.get_experiment_by_name("ctr-sim-avazu") is None
                and time.monotonic() < deadline
            ):
                time.sleep(0.2)
        time.sleep(2)  # the server is gone, and trainings go on
        with page(log, port=port, **place):
            ends = [wait(run, project) for run, project in zip(runs, projects, strict=True)]
            for project, (code, output) in zip(projects, ends, strict=True):
                assert code == 0 or RIVAL in output, output
                if code:
                    words_again = ("ploomber.cli", "task", "evaluate", "--force")
                    again = {**team, "PLOOMBER_ENV_FILENAME": "env.tiny.yaml"}
                    assert wait(start(project, *words_again, **again), project)[0] == 0
                    assert wait(start(project, *words, **team), project)[0] == 0
            number = client.get_experiment_by_name("ctr-sim-avazu").experiment_id
            found = client.search_runs([number])
            version = client.get_model_version_by_alias("ctr-avazu", CHAMPION)
        assert sorted(run.info.run_name for run in found) == sorted(
            ["fm", "ftrl", "sgd", "sgd_optuna"] * 2
        )
        assert {run.info.status for run in found} == {"FINISHED"}
        assert version.run_id in {run.info.run_id for run in found}
        assert (
            n_trials(server.address("optuna")) == 2
        )  # env.tiny.yaml asks for two, of both together
    for project in projects:
        written = [path for path in (project / "products").rglob("*") if path.suffix in (".html", ".json", ".log", ".ipynb")]  # fmt: skip
        assert len(written) > 20
        assert not [path for path in written if PASSWORD in path.read_text()]


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
        start(project, "tasks.cli", "run", "--env", "env.tiny.yaml", **team), project
    )
    lines = [line for line in output.splitlines() if line.startswith("error:")]
    assert code == 8, output
    assert len(lines) == 1
    assert "cannot be reached just now" in lines[0]
    assert "Traceback" not in output
    assert "pa55" not in output
    assert not (project / "products/tiny/log").exists()
