"""MLflow's servers that start on one empty database at once: one makes the tables, the others wait."""

import os
import subprocess
import sys

import psycopg2
import pytest

from infra.images import tracking_server
from tasks.storage.databases import with_driver
from tests.conftest import ROOT
from tests.postgres import postgres

FILE = ROOT / "infra" / "images" / "tracking_server.py"


def test_without_postgresql_it_only_becomes_the_command(monkeypatch):
    """A file needs no lock."""
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", "sqlite:///mlflow.db")
    became = []
    monkeypatch.setattr(os, "execvp", lambda program, words: became.append((program, words)))
    tracking_server.main(["mlflow", "server"])
    assert became == [("mlflow", ["mlflow", "server"])]


@pytest.mark.slow
def test_two_servers_on_one_empty_database():
    """Both become their command, and there is one first experiment, whose artifacts the server keeps."""
    with postgres() as server:
        uri = server.create("mlflow")
        environment = os.environ | {"MLFLOW_BACKEND_STORE_URI": with_driver(uri)}
        words = [sys.executable, "-W", "ignore", str(FILE), "echo", "started"]
        both = [
            subprocess.Popen(
                words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        for one in both:
            said, error = one.communicate(timeout=120)
            assert (one.returncode, said) == (0, "started\n"), error[-2000:]
        with psycopg2.connect(uri) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT name, artifact_location FROM experiments")
            assert cursor.fetchall() == [("Default", "mlflow-artifacts:/0")]
        connection.close()
