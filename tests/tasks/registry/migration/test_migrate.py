"""A local store moved to a team's: everything arrives once, and nothing of others is touched."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from tasks.errors import ConfigError, InputError
from tasks.registry.ledger import append_decision, read_ledger
from tasks.registry.migration import files
from tasks.registry.migration import migrate as migration
from tasks.registry.migration.migrate import is_complete, migrate, source_place, target_place
from tasks.registry.mlflow_store import find_alias
from tests.postgres import PASSWORD, postgres
from tests.stores import s3_server
from tests.tasks.registry.local_store import client_of, local_store, page

EXPECTED = {
    "experiments": 1,
    "runs": 4,
    "of these, nested": 2,
    "parameters": 2,
    "metric values": 4,
    "uses of datasets": 1,
    "logged models": 1,
    "registered models": 1,
    "versions": 1,
    "aliases": 1,
    "files": 2,
    "lines of the ledger": 2,
    "studies": 1,
    "trials": 3,
}


@pytest.fixture
def source(tmp_path, empty_store, monkeypatch):
    """A local store with one of everything."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    return local_store(tmp_path / "here" / "store", empty_store)


@pytest.fixture
def target(tmp_path, empty_store):
    """An empty store on this disk, as another machine would have it behind a server."""
    (tmp_path / "there").mkdir()
    shutil.copy(empty_store, tmp_path / "there")
    return target_place(f"sqlite:///{tmp_path}/there/mlflow.db", str(tmp_path / "there/artifacts"))


def numbers(counted) -> dict[str, int]:
    assert is_complete(counted), counted
    return {one.what: one.there for one in counted if one.what in EXPECTED}


def rows(place, table: str) -> list:
    with closing(sqlite3.connect(place.tracking.removeprefix("sqlite:///"))) as database:
        return database.execute(f"SELECT * FROM {table}").fetchall()


@pytest.mark.slow
def test_moving_twice_doubles_nothing(source, target):
    """The same counts after the second time, and what the team changed since stays."""
    assert numbers(migrate(source, target)) == EXPECTED
    client = client_of(target.tracking)
    (run, *_) = client.search_runs([client.get_experiment_by_name("ctr").experiment_id])
    client.set_tag(run.info.run_id, "note", "the team's")
    append_decision(target.ledger, {"decision": "the team's"})
    before = {table: len(rows(target, table)) for table in ("runs", "metrics", "tags", "inputs")}
    assert numbers(migrate(source, target)) == EXPECTED
    assert {table: len(rows(target, table)) for table in before} == before
    assert len(read_ledger(target.ledger)) == 3


def test_what_was_added_since_arrives_the_next_time(source, target):
    """People go on working in the local store until all have moved."""
    migrate(source, target)
    client = client_of(source.tracking)
    number = client.get_experiment_by_name("ctr").experiment_id
    client.log_text(client.create_run(number).info.run_id, "more", "more.txt")
    append_decision(source.ledger, {"decision": "promoted"})
    counted = {one.what: one.there for one in migrate(source, target)}
    assert (counted["runs"], counted["files"], counted["lines of the ledger"]) == (5, 3, 3)


def test_a_move_that_was_interrupted_is_resumed(source, target, monkeypatch):
    """It dies after the first file; no row names a file that is not there."""
    copy, copied = files._copy, []

    def dies(path, destination, place):
        if copied:
            raise KeyboardInterrupt
        copied.append(place)
        copy(path, destination, place)

    monkeypatch.setattr(files, "_copy", dies)
    with pytest.raises(KeyboardInterrupt):
        migrate(source, target)
    assert rows(target, "runs") == []
    monkeypatch.setattr(files, "_copy", copy)
    assert numbers(migrate(source, target)) == EXPECTED


def test_an_experiment_that_others_have_under_that_name_is_refused(source, target):
    """Nothing is copied, not even files."""
    client = client_of(target.tracking)
    client.create_experiment("ctr", artifact_location="mlflow-artifacts:/1")
    with pytest.raises(InputError, match="the target has another experiment 'ctr'") as caught:
        migrate(source, target)
    assert "\n" not in str(caught.value)
    assert rows(target, "runs") == []
    assert not (migration.resolve(target.artifacts)).exists()


def test_a_model_and_a_version_that_others_have_are_refused(source, target):
    """Versions are numbered by each store: the team's next one is not this store's."""
    migrate(source, target)
    for place in (source, target):
        client = client_of(place.tracking)
        run = client.create_run(client.get_experiment_by_name("ctr").experiment_id)
        client.create_model_version("ctr-avazu", "file:///x", run.info.run_id)
    with pytest.raises(InputError, match="another version 'ctr-avazu version 2'"):
        migrate(source, target)


def test_a_ledger_or_a_study_of_others_is_refused(source, target):
    """One must begin with the other; said before anything is copied in the ledger's case."""
    import optuna

    append_decision(target.ledger, {"decision": "another team's"})
    with pytest.raises(InputError, match="has other decisions"):
        migrate(source, target)
    assert rows(target, "runs") == []
    (migration.resolve(target.ledger)).unlink()
    study = optuna.create_study(storage=target.studies[0], study_name="s")
    study.optimize(lambda trial: trial.suggest_float("x", 5, 6), n_trials=1)
    with pytest.raises(InputError, match=r"study 's' at .* has other trials"):
        migrate(source, target)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: target_place("http://host:5000", "s3://b/a"), "TO must be the database"),
        (lambda: target_place("", "s3://b/a"), "found nothing"),
        (lambda: target_place("postgresql://h/mlflow", ""), "ARTIFACTS must be"),
        (lambda: source_place({"mlflow": {"tracking_uri": "http://ann:pa55@h"}}), "no local store"),
        (lambda: source_place({}, "sqlite:///none.db"), "no local store"),
    ],
)
def test_a_missing_address_is_one_line(call, message):
    """It names the variable to set, and no password."""
    with pytest.raises(ConfigError, match=message) as caught:
        call()
    assert "pa55" not in str(caught.value)


@pytest.mark.slow
def test_a_team_reads_on_postgresql_and_s3_what_was_moved(source, tmp_path, monkeypatch):
    """Through MLflow's server, with the champion's files, the history and the ledger; a wrong bucket is one line."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with postgres() as server, s3_server(monkeypatch) as s3:
        for name in ("mlflow", "optuna"):
            server.create(name)
        address = server.address("mlflow", password=None)
        with pytest.raises(InputError, match="S3 answered NoSuchBucket"):
            migrate(
                source, target_place(address, "s3://nothing/artifacts", ledger=str(tmp_path / "l"))
            )
        target = target_place(address, "s3://bucket/artifacts")
        assert numbers(migrate(source, target)) == EXPECTED
        assert numbers(migrate(source, target)) == EXPECTED
        assert target.ledger == "s3://bucket/ledger.jsonl"
        entry = append_decision(target.ledger, {"decision": "promoted"})
        assert read_ledger(target.ledger)[2] == entry
        store = {"STORE": server.address("mlflow"), "ARTIFACTS": target.artifacts}
        with page(tmp_path / "page.log", **store) as url:
            client = client_of(url)
            number = client.get_experiment_by_name("ctr").experiment_id
            found = find_alias(client, "ctr-avazu", "champion", folder=tmp_path / "champion")
            losses = client.get_metric_history(found.run_id, "loss")
            assert (found.folder / "model.json").read_text() == "weights"
            assert [metric.step for metric in losses] == [1, 2, 3, 3]
            assert len(client.get_run(found.run_id).inputs.dataset_inputs) == 1
            query = f"tags.mlflow.parentRunId = '{found.run_id}'"
            assert len(client.search_runs([number], query)) == 2
            new = client.create_run(number).info  # new runs go to the same bucket
            client.log_text(new.run_id, "new", "new.txt")
            keys = [one["Key"] for one in s3.client.list_objects_v2(Bucket="bucket")["Contents"]]
        assert f"artifacts/{number}/{new.run_id}/artifacts/new.txt" in keys
        assert PASSWORD not in (tmp_path / "page.log").read_text()
