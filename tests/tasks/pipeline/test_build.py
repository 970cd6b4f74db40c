"""A killed train notebook: the next run resumes within the epoch, to the same model."""

import json
import os
import subprocess
import sys

import pytest

from tasks.errors import ConfigError
from tasks.pipeline.build import refuse_passwords
from tests.conftest import copy_project

pytestmark = pytest.mark.slow

BUILD = """
import sys
from tasks.pipeline.build import load_dag
from tasks.pipeline.knobs import read_env
from tasks.pipeline.executor import TasksFailed

try:
    load_dag(read_env("env.tiny.yaml")).build_partially("train-fm")
except TasksFailed as error:
    sys.exit(error.failures[0].exit_code)
"""
KILL_ONCE = """

EVERY_S, MAX_SHARE = 0, 1e9
_save = Checkpoint.save


def _save_and_die_once(self, learner, position):
    import os

    _save(self, learner, position)
    mark = self.path.with_name("killed")
    if (position["epoch"], position["n_batches"]) == (2, 2) and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), 9)


Checkpoint.save = _save_and_die_once
"""


def test_a_killed_kernel_resumes_to_the_same_model(tmp_path):
    """Weights, metrics and curve are those of an undisturbed run; no checkpoint is left."""
    project = copy_project(tmp_path)
    with (project / "tasks" / "training" / "checkpoint.py").open("a") as file:
        file.write(KILL_ONCE)
    products = project / "products" / "tiny"

    def build():
        env = os.environ | {"PYTHONPATH": str(project)}
        command = [sys.executable, "-W", "ignore", "-c", BUILD]
        done = subprocess.run(command, cwd=project, env=env, capture_output=True, timeout=300)
        return done.returncode, done.stderr.decode()

    def outcome():
        result = json.loads((products / "train-fm.json").read_text())
        assert (products / "killed").exists()
        assert not list(products.rglob("*.npz"))
        return result["version"], result["valid"]

    code, errors = build()
    assert code == 137, errors
    assert (products / "train-fm.checkpoint.npz").is_file()
    code, errors = build()
    assert code == 0, errors
    assert "training resumes from here" in (products / "train-fm.ipynb").read_text()
    resumed = outcome()
    (products / "train-fm.json").unlink()
    code, errors = build()
    assert code == 0, errors
    assert "training resumes" not in (products / "train-fm.ipynb").read_text()
    assert outcome() == resumed


def test_a_password_among_the_knobs_is_refused_by_its_name():
    """However deep it lies; the line does not repeat it."""
    search = {"method": "optuna", "storage": "postgresql://ann:pa55@db/optuna"}
    knobs = {"mlflow": {"ledger": "a.jsonl"}, "models": {"sgd": {"search": search}}}
    with pytest.raises(ConfigError, match=r"env.yaml: models.sgd.search.storage holds") as caught:
        refuse_passwords(knobs)
    assert "pa55" not in str(caught.value)
    refuse_passwords(knobs | {"models": [{"storage": "postgresql://ann@db/optuna"}]})
