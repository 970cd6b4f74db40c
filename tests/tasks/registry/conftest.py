"""An empty store of MLflow, made once: creating its tables takes some seconds."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """The SQLite file of a store without experiments of its own; tests copy it."""
    from tasks.registry.mlflow_store import connect

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    connect(f"sqlite:///{path}")
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    return path
