"""MLflow's page: which store it shows, and what stops it from starting."""

import shutil
import socket

import pytest

from tasks.errors import ConfigError
from tasks.registry import runs
from tasks.registry.ui import HOST, prepare_page
from tests.conftest import free_port
from tests.tasks.registry.local_store import client_of


@pytest.fixture
def knobs(tmp_path, empty_store, monkeypatch):
    """The knobs of a store, whose address nothing overrides."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    tracking = {
        "tracking_uri": f"sqlite:///{shutil.copy(empty_store, tmp_path)}",
        "artifact_root": str(tmp_path / "artifacts"),
        "experiment": "ctr",
    }
    return {"data": "sim://avazu", "mlflow": tracking}


def test_the_page_opens_at_the_projects_experiment(knobs):
    """At the start page while there is none; the address of the database is in no command line."""
    port = free_port()
    assert prepare_page(knobs, port=port).address == f"http://{HOST}:{port}"
    number = runs.open_experiment(client_of(knobs["mlflow"]["tracking_uri"]), "ctr-sim-avazu")
    page = prepare_page(knobs, port=port)
    assert page.address.startswith(f"http://{HOST}:{port}/#/experiments/{number}/runs?viewState")
    assert page.environment["MLFLOW_BACKEND_STORE_URI"] == knobs["mlflow"]["tracking_uri"]
    assert page.environment["MLFLOW_ARTIFACTS_DESTINATION"] == knobs["mlflow"]["artifact_root"]
    assert not any("sqlite" in word for word in page.command)


def test_a_taken_port_is_one_line_with_another(knobs):
    """Said before the store is opened."""
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"make ui UI_PORT={port + 1}"):
            prepare_page(knobs, port=port)


def test_a_store_that_has_a_server_names_it(knobs):
    """Without the password of its address."""
    with pytest.raises(ConfigError, match=r"open http://ann:\*\*\*@mlflow:5000") as caught:
        prepare_page(knobs, store="http://ann:pa55@mlflow:5000", artifacts="s3://b/a")
    assert "pa55" not in str(caught.value)


def test_a_teams_store_needs_the_place_of_its_files(knobs):
    """The local folder would be a wrong guess."""
    with pytest.raises(ConfigError, match="ARTIFACTS must name"):
        prepare_page(knobs, store="postgresql://db/mlflow")
