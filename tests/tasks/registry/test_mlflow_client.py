"""What is wrong with a store is one line, whichever call meets it."""

import os
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from tasks.errors import ConfigError, InputError, UnavailableError
from tasks.registry import mlflow_client, runs
from tasks.registry.mlflow_client import store_error
from tasks.registry.mlflow_store import check_tracking, connect
from tasks.storage import databases
from tests.postgres import PASSWORD, postgres
from tests.stores import s3_server
from tests.tasks.registry.local_store import page


@pytest.fixture(autouse=True)
def own_address(monkeypatch):
    """No store but the test's own, and nobody waits."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.setenv("CLICKLAB_WAIT_S", "0")


@pytest.fixture
def address(tmp_path, empty_store):
    """The address of a store."""
    return f"sqlite:///{shutil.copy(empty_store, tmp_path)}"


def opened(address, monkeypatch):
    client = connect(address)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # MLflow notes there where it connected to last
    return client


def one_line(caught) -> str:
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_deleted_experiment_is_one_line_that_says_how_to_restore_it(address, monkeypatch):
    """MLflow would find it, and then refuse every run."""
    client = opened(address, monkeypatch)
    knobs = {"data": "sim://avazu", "mlflow": {"tracking_uri": address, "experiment": "ctr"}}
    number = runs.open_experiment(client, "ctr-sim-avazu")
    client.delete_experiment(number)
    for call in (
        lambda: runs.open_experiment(client, "ctr-sim-avazu"),
        lambda: check_tracking(knobs),
    ):
        with pytest.raises(ConfigError, match="was deleted in MLflow") as caught:
            call()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert f"restore --experiment-id {number}" in one_line(caught)
    client.restore_experiment(number)
    assert runs.open_experiment(client, "ctr-sim-avazu") == number


def test_a_file_that_is_removed_while_it_is_used_is_one_line(address, monkeypatch):
    """And no empty file takes its place; one that somebody else put there is named, too."""
    client = opened(address, monkeypatch)
    number = runs.open_experiment(client, "ctr")
    path = databases.sqlite_path(address)
    path.unlink()
    with pytest.raises(InputError, match="moved or removed"):
        client.create_run(number)
    assert not path.exists()
    path.touch()
    with pytest.raises(InputError, match="its tables are missing"):
        client.create_run(number)


def test_a_file_that_others_lock_is_one_line(address, monkeypatch):
    """At the start; it is free again as soon as the other program ends."""
    monkeypatch.setattr(databases, "_LOCKED_S", 0.1)
    with sqlite3.connect(databases.sqlite_path(address), isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UnavailableError, match="another program has locked it") as caught:
            connect(address)
        other.execute("ROLLBACK")
    other.close()
    one_line(caught)
    connect(address)


@pytest.mark.parametrize("content", [b"not a database" * 100, b"SQLite format 3\0" + b"x" * 4000])
def test_a_file_that_is_something_else_is_one_line_and_stays(tmp_path, content):
    """Text, or a database that was cut off."""
    path = tmp_path / "mlflow.db"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not an intact SQLite database") as caught:
        connect(f"sqlite:///{path}")
    one_line(caught)
    assert path.read_bytes() == content


def test_a_folder_of_files_that_cannot_be_written_is_named(address, monkeypatch, tmp_path):
    """A file lies where the folder should be."""
    client = opened(address, monkeypatch)
    root = tmp_path / "artifacts"
    number = runs.open_experiment(client, "ctr", artifact_root=root)
    run_id = client.create_run(number).info.run_id
    root.write_text("in the way")
    with pytest.raises(InputError, match="artifacts cannot be written") as caught:
        client.log_text(run_id, "x", "x.txt")
    assert str(root) in one_line(caught)


def test_what_s3_refuses_is_one_line():
    """A bucket that is gone, a right that is missing."""
    for code in ("NoSuchBucket", "AccessDenied"):
        error = ClientError({"Error": {"Code": code, "Message": "no"}}, "PutObject")
        assert f"S3 answered {code}" in str(store_error("http://ann:pa55@host:5000", error))
    assert store_error("http://host:5000", KeyError("x")) is None


def test_a_password_in_the_knob_is_refused_before_anything_is_opened():
    """Knobs are parameters of notebooks."""
    with pytest.raises(ConfigError, match="holds a password") as caught:
        connect("postgresql://ann:pa55@db/mlflow")
    assert "pa55" not in str(caught.value)


@pytest.mark.slow
def test_postgresql_itself_as_the_store(monkeypatch):
    """A wrong password is said at once; a crash midway is waited for, and one line if it lasts."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with postgres() as server:
        server.create("mlflow")
        address = server.address("mlflow", password=None)
        monkeypatch.setenv("PGPASSWORD", "guess-1")
        with pytest.raises(ConfigError, match="password is wrong or missing") as caught:
            connect(address)
        assert "guess-1" not in one_line(caught)
        monkeypatch.setenv("PGPASSWORD", PASSWORD)
        client = opened(address, monkeypatch)
        number = runs.open_experiment(client, "ctr", artifact_root="s3://bucket/artifacts")
        server.stop()
        with pytest.raises(UnavailableError, match="cannot be reached just now") as caught:
            client.create_run(number)
        assert PASSWORD not in one_line(caught)
        monkeypatch.setenv("CLICKLAB_WAIT_S", "30")
        started = iter([server.start])
        monkeypatch.setattr("time.sleep", lambda _: next(started, lambda: None)())
        run_id = client.create_run(number).info.run_id
        assert client.get_run(run_id).info.status == "RUNNING"


@pytest.mark.slow
def test_a_server_without_its_bucket_is_one_line_at_once(address, tmp_path, monkeypatch):
    """With its bucket, the same server passes."""
    with s3_server(monkeypatch):
        for bucket in ("nothing", "bucket"):
            store = {"STORE": address, "ARTIFACTS": f"s3://{bucket}/artifacts"}
            with page(tmp_path / "page.log", **store) as url:
                knobs = {
                    "data": "sim://avazu",
                    "mlflow": {"tracking_uri": url, "experiment": "ctr"},
                }
                if bucket == "bucket":
                    check_tracking(knobs)
                    continue
                with pytest.raises(InputError, match="cannot read where it keeps files") as caught:
                    check_tracking(knobs)
                monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
            one_line(caught)


@pytest.mark.slow
def test_a_second_store_of_one_process_is_another_store(tmp_path, monkeypatch):
    """MLflow notes the first address in the environment, where it would override the second."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("one", "two"):
        client = connect(f"sqlite:///{tmp_path}/{name}.db")
        client.create_experiment(name)
        assert {found.name for found in client.search_experiments()} == {"Default", name}
    assert "MLFLOW_TRACKING_URI" not in os.environ
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/one.db")
    client = connect(f"sqlite:///{tmp_path}/two.db")
    assert {found.name for found in client.search_experiments()} == {"Default", "one"}
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path}/one.db"


@pytest.mark.slow
def test_processes_that_log_the_same_new_dataset_at_once_all_succeed(monkeypatch):
    """MLflow looks for the dataset and then inserts it; of several the later ones were refused."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with postgres() as server:
        server.create("mlflow")
        client = connect(server.address("mlflow", password=None))
        experiment = runs.open_experiment(client, "ctr-sim-avazu")
        ids = [client.create_run(experiment).info.run_id for _ in range(8)]

        def log(run_id, number):
            runs.log_dataset(
                client, run_id, name="avazu", source="", digest=f"{number}", rows={"train": 9}
            )

        with ThreadPoolExecutor(len(ids)) as pool:
            for number in range(5):
                list(pool.map(log, ids, [number] * len(ids)))
        for run_id in ids:
            found = client.get_run(run_id).inputs.dataset_inputs
            assert sorted(item.dataset.digest for item in found) == list("01234")


def test_a_name_that_exists_is_an_answer_and_not_asked_for_again(address, monkeypatch):
    """Only rows that another process inserted in between are."""
    client = opened(address, monkeypatch)
    client.create_experiment("ctr-sim-avazu")
    calls = []
    monkeypatch.setattr(mlflow_client.time, "sleep", calls.append)
    with pytest.raises(Exception, match="already exists"):
        client.create_experiment("ctr-sim-avazu")
    assert not calls
