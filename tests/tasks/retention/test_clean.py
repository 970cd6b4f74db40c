"""`make clean` takes what can be made again, and no store."""

import os
import subprocess
import sys

import pytest

from tasks.retention.clean import clean
from tasks.storage.locks import lock_or_holder
from tests.conftest import ROOT


@pytest.fixture
def project(tmp_path):
    """Products with a store among them, caches, and what stays."""
    for name in (
        "products/log/day.parquet",
        "products/tiny/log/day.parquet",
        "products/tiny/store/mlflow.db",
        "products/tiny/store/artifacts/1/model/model.json",
        "products/checkpoints/sgd/optuna.db",
        "tasks/__pycache__/promote.pyc",
        ".ruff_cache/x",
        "build/x",
        ".venv/lib/__pycache__/x.pyc",
        ".bentos/bentos/ctr/n3mz/bento.yaml",
        "mlflow/store/ledger.jsonl",
        "tasks/promote.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def files(folder):
    """Return the files below a folder, as text."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_products_and_caches_go_and_stores_stay(project):
    """Those among the products, too; and Bentos, packages, code."""
    gone = {str(path.relative_to(project)) for path in clean(project)}
    assert gone == {
        "products/log", "products/tiny/log", "tasks/__pycache__", ".ruff_cache", "build"
    }  # fmt: skip
    assert files(project) == {
        "products/tiny/store/mlflow.db",
        "products/tiny/store/artifacts/1/model/model.json",
        "products/checkpoints/sgd/optuna.db",
        ".venv/lib/__pycache__/x.pyc",
        ".bentos/bentos/ctr/n3mz/bento.yaml",
        "mlflow/store/ledger.jsonl",
        "tasks/promote.py",
    }
    assert clean(project) == []


def test_a_link_goes_and_not_what_it_leads_to(project, tmp_path_factory):
    """A disk of its own for the products stays as it is."""
    other = tmp_path_factory.mktemp("disk") / "log"
    other.mkdir()
    (project / "products/log/there").symlink_to(other)
    clean(project)
    assert other.is_dir()


def test_nothing_goes_while_a_run_is_at_work(project):
    """One line says which process it is."""
    (project / "products/logs").mkdir()
    with lock_or_holder(project / "products/logs/run"):
        done = subprocess.run(
            [sys.executable, "-m", "tasks.retention.clean"],
            cwd=project,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: process {os.getpid()} is at work on products; wait until it ends\n"  # fmt: skip
    assert (project / "products/log/day.parquet").exists()
