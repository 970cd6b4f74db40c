"""Workers that share a study on a real PostgreSQL: together they run as many trials as asked for, whatever dies."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import optuna
import pytest

from tasks.errors import ConfigError
from tasks.training.optuna_storage import Storage
from tests.conftest import ROOT
from tests.postgres import PASSWORD, postgres

# Begins trials of a second each, and writes down which; the trial of worker "d" never ends.
WORKER = """
import sys, time, warnings
import optuna
from tasks.training import optuna_storage
from tasks.training.optuna_storage import Storage

name, n_trials = sys.argv[1], int(sys.argv[2])
optuna_storage.HEARTBEAT_S, optuna_storage.GRACE_S, optuna_storage.POLL_S = 1, 4, 0.2
warnings.simplefilter("ignore")
optuna.logging.set_verbosity(optuna.logging.WARNING)

def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    print(f"{trial.number} {x!r}", flush=True)
    time.sleep(60 if name == "d" else 0.7)
    return x

storage = Storage(None)
study = storage.open_study(optuna, "shared", direction="minimize")
sampler = lambda n_done: optuna.samplers.RandomSampler()
storage.run_trials(optuna, study, objective, n_trials=n_trials, first={"x": 0.5}, sampler=sampler)
print("end", flush=True)
"""


def start(name: str, address: str, folder: Path, n_trials: int) -> subprocess.Popen:
    out = (folder / name).open("w")
    with out:
        return subprocess.Popen(
            [sys.executable, "-c", WORKER, name, str(n_trials)],
            cwd=ROOT,
            env=os.environ | {"OPTUNA_STORAGE": address},
            stdout=out,
            stderr=subprocess.STDOUT,
        )


def begun(folder: Path) -> list[str]:
    """Return the numbers of the trials that workers began, in all their outputs."""
    lines = [line for path in folder.iterdir() for line in path.read_text().splitlines()]
    return [line.split()[0] for line in lines if line.split()[0].isdigit()]


def trials_of(address: str) -> list[optuna.trial.FrozenTrial]:
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study = Storage(address.replace(f":{PASSWORD}", "")).open_study(optuna, "shared")
    return study.get_trials()


def finish(workers: list[subprocess.Popen], folder: Path) -> None:
    try:
        for worker in workers:
            worker.wait(timeout=90)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    told = "\n".join(path.read_text() for path in folder.iterdir())
    assert not any(worker.returncode for worker in workers), told


@pytest.mark.slow
def test_four_workers_and_one_killed_run_exactly_the_trials_asked_for(tmp_path, monkeypatch):
    """No trial is lost or run twice; that of the killed worker is run again with its parameters, by another."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with postgres() as server:
        address = server.create("optuna")
        workers = [start(name, address, tmp_path, 12) for name in "abcd"]
        deadline = time.monotonic() + 60
        while not (tmp_path / "d").read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        doomed = workers.pop()
        os.kill(doomed.pid, signal.SIGKILL)
        doomed.wait()
        finish(workers, tmp_path)
        trials = trials_of(address)
    states = Counter(trial.state.name for trial in trials)
    assert states == {"COMPLETE": 12, "FAIL": 1}
    assert sorted(begun(tmp_path), key=int) == [str(number) for number in range(13)]
    dead = next(trial for trial in trials if trial.state.name == "FAIL")
    assert [trial.params for trial in trials].count(dead.params) == 2
    assert [trial.params["x"] for trial in trials].count(0.5) in (1, 2)  # the first one, once


@pytest.mark.slow
def test_workers_wait_while_the_database_restarts(tmp_path, monkeypatch):
    """It crashes while both run trials and is away for three seconds; the number of trials still comes out."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with postgres() as server:
        address = server.create("optuna")
        workers = [start(name, address, tmp_path, 8) for name in "ab"]
        deadline = time.monotonic() + 60
        while len(begun(tmp_path)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        server.stop()
        time.sleep(3)
        server.start()
        finish(workers, tmp_path)
        trials = trials_of(address)
    assert sum(trial.state.name == "COMPLETE" for trial in trials) == 8


def test_a_password_in_the_knob_is_refused():
    """It would be in the executed notebook; in the environment it may be."""
    with pytest.raises(ConfigError, match="holds a password") as caught:
        Storage("postgresql://ann:pa55@db/optuna")
    assert "pa55" not in str(caught.value)


def test_the_environment_overrides_the_knob(monkeypatch):
    """So that nobody edits env.yaml to try a team's storage."""
    monkeypatch.setenv("OPTUNA_STORAGE", "postgresql://ann:pa55@db/optuna")
    storage = Storage("sqlite:///optuna.db")
    assert storage.is_shared
    assert storage.address == "postgresql+psycopg2://ann:pa55@db/optuna"


def test_no_queued_trial_of_a_file_is_run_twice(tmp_path):
    """Threads with connections of their own ask at the same moment, as several processes do."""
    address, runs = f"sqlite:///{tmp_path}/optuna.db", Counter()

    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        runs[x] += 1
        return x

    first = Storage(address).open_study(optuna, "shared", direction="minimize")
    for number in range(12):
        first.enqueue_trial({"x": number / 12})
    together = Barrier(4)

    def work(_):
        storage = Storage(address)
        study = storage.open_study(optuna, "shared")
        together.wait(30)
        storage.run_trials(
            optuna,
            study,
            objective,
            n_trials=12,
            first={"x": 0.0},
            sampler=lambda n_done: optuna.samplers.RandomSampler(seed=n_done),
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert {runs[number / 12] for number in range(12)} == {1}
