"""A store of an older MLflow is updated if it is local, one of a newer MLflow is refused."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tasks.errors import ConfigError
from tasks.registry.mlflow_store import connect
from tasks.registry.store_version import _revisions, check_version
from tests.postgres import PASSWORD, postgres


def set_revision(path, revision: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", [revision])
        database.commit()


@pytest.fixture
def store(tmp_path, monkeypatch, empty_store):
    """A store that the installed MLflow made."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    return Path(shutil.copy(empty_store, tmp_path))


def test_a_store_of_a_newer_mlflow_is_refused_and_left_alone(store):
    """MLflow itself calls it out of date and advises an update."""
    set_revision(store, "feedc0ffee00")
    before = store.read_bytes()
    with pytest.raises(ConfigError, match=r"a newer MLflow than .* revision feedc0ffee00"):
        connect(f"sqlite:///{store}")
    assert store.read_bytes() == before


def test_an_older_local_store_is_updated_and_kept_as_it_was(tmp_path, monkeypatch, caplog):
    """A store as MLflow made it some versions ago, with an experiment in it."""
    from mlflow.store.db import utils

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    path = tmp_path / "mlflow.db"
    older = _revisions()[10]
    engine = utils.create_sqlalchemy_engine(f"sqlite:///{path}")
    utils.InitialBase.metadata.create_all(engine)
    from alembic import command

    config = utils._get_alembic_config(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, older)
    engine.dispose()
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            "INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (1, 'ctr', 'active')"
        )
        database.commit()
    client = connect(f"sqlite:///{path}")
    assert client.get_experiment_by_name("ctr").experiment_id == "1"
    assert f"the file as it was is mlflow.db.{older}" in caplog.text
    with closing(sqlite3.connect(tmp_path / f"mlflow.db.{older}")) as kept:
        assert kept.execute("SELECT version_num FROM alembic_version").fetchone() == (older,)


@pytest.mark.slow
def test_a_teams_older_store_is_not_updated_without_asking(monkeypatch):
    """Others may still use that version; the line names the command, without the password."""
    import sqlalchemy

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with postgres() as server:
        address = server.create("mlflow").replace("postgresql:", "postgresql+psycopg2:")
        engine = sqlalchemy.create_engine(address)
        with engine.begin() as connection:
            connection.execute(
                sqlalchemy.text("CREATE TABLE alembic_version (version_num VARCHAR(32))")
            )
            connection.execute(
                sqlalchemy.text("INSERT INTO alembic_version VALUES (:r)"), {"r": _revisions()[3]}
            )
        engine.dispose()
        with pytest.raises(ConfigError, match="mlflow db upgrade postgresql") as caught:
            check_version(address)
    assert PASSWORD not in str(caught.value)
