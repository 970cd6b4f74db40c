"""A project that was moved, renamed or copied finds the files of its runs again."""

import os
import shutil

import pytest

from tasks.errors import InputError
from tasks.registry import runs
from tasks.registry.mlflow_store import connect, find_alias, register
from tasks.registry.relocation import relocate
from tests.conftest import ROOT


@pytest.fixture
def project(tmp_path, empty_store):
    """A project with an empty store."""
    folder = tmp_path / "old name"
    (folder / "mlflow/store").mkdir(parents=True)
    (folder / "pipeline.yaml").touch()
    shutil.copy(empty_store, folder / "mlflow/store")
    return folder


def open_store(folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.chdir(folder)
    return connect("sqlite:///mlflow/store/mlflow.db")


def add_run(client, root="mlflow/store/artifacts") -> str:
    experiment = runs.open_experiment(client, "ctr-sim-avazu", artifact_root=root)
    run_id = client.create_run(experiment).info.run_id
    client.log_text(run_id, "weights", "model/model.json")
    client.set_registered_model_alias("ctr", "champion", register(client, "ctr", run_id, tags={}))
    return run_id


def champion(client, folder) -> str:
    found = find_alias(client, "ctr", "champion", folder=folder)
    return (found.folder / "model.json").read_text()


@pytest.mark.parametrize("root", ["mlflow/store/artifacts", "files"])
@pytest.mark.parametrize("change", [shutil.move, shutil.copytree])
def test_a_moved_or_copied_project_reads_its_own_files(
    project, monkeypatch, tmp_path, change, root
):
    """A copy uses its own files, not those of the original, which stays as it is."""
    run_id = add_run(open_store(project, monkeypatch), root)
    monkeypatch.chdir(tmp_path)
    change(project, tmp_path / "new")
    new = open_store(tmp_path / "new", monkeypatch)
    found = new.get_run(run_id).info.artifact_uri
    assert found == (tmp_path / "new" / root / run_id / "artifacts").as_uri()
    assert champion(new, tmp_path / "download") == "weights"
    assert new.get_model_version("ctr", "1").source == f"{found}/model"
    later = add_run(new, root)
    assert (tmp_path / "new" / root / later / "artifacts/model/model.json").is_file()
    if change is shutil.copytree:
        assert not (project / root / later).exists()


def test_files_outside_the_project_stay_where_they_are(project, monkeypatch, tmp_path):
    """A disk of its own for artifacts is not looked for elsewhere."""
    run_id = add_run(open_store(project, monkeypatch), str(tmp_path / "disk"))
    monkeypatch.chdir(tmp_path)
    shutil.move(project, tmp_path / "new")
    (tmp_path / "new" / "disk").mkdir()  # of the same name, without these runs
    client = open_store(tmp_path / "new", monkeypatch)
    assert client.get_run(run_id).info.artifact_uri.startswith((tmp_path / "disk").as_uri())
    assert champion(client, tmp_path / "download") == "weights"


def test_nothing_is_changed_in_a_store_that_was_not_moved(project, monkeypatch):
    """Nor in a file that MLflow has not made yet, nor on a server."""
    add_run(open_store(project, monkeypatch))
    address = f"sqlite:///{project}/mlflow/store/mlflow.db"
    assert relocate(address) == []
    assert relocate(f"sqlite:///{project}/none.db") == []
    assert relocate("http://127.0.0.1:5000") == []
    assert not (project / "none.db").exists()


def test_files_that_are_gone_are_named(project, monkeypatch, tmp_path):
    """The line names the version, what is missing and where it was."""
    client = open_store(project, monkeypatch)
    run_id = add_run(client)
    shutil.rmtree(project / "mlflow/store/artifacts")
    with pytest.raises(InputError, match="ctr version 1") as caught:
        champion(client, tmp_path / "download")
    assert f"{run_id}/artifacts" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_mlflows_page_on_a_moved_store_shows_the_files(project, monkeypatch, tmp_path):
    """`make ui` corrects the addresses before the server starts."""
    import subprocess
    import sys
    import time
    from urllib.request import urlopen

    from tests.conftest import free_port, stop_group

    run_id = add_run(open_store(project, monkeypatch))
    monkeypatch.chdir(tmp_path)
    shutil.move(project, tmp_path / "new")
    for name in ("env.yaml", "pipeline.yaml"):
        shutil.copy(ROOT / name, tmp_path / "new")
    port = free_port()
    log = tmp_path / "log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "tasks.cli", "ui", "--port", str(port)],
            cwd=tmp_path / "new",
            env=os.environ | {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": ""},
            stderr=out,
            stdout=out,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}/get-artifact?run_uuid={run_id}&path=model/model.json"
        for _ in range(600):
            assert server.poll() is None, log.read_text()
            try:
                with urlopen(url, timeout=5) as answer:
                    found = answer.read()
                break
            except OSError:
                time.sleep(0.1)
    finally:
        stop_group(server)
    assert found == b"weights"
    assert f"MLflow: http://127.0.0.1:{port}/#/experiments/1" in log.read_text()
