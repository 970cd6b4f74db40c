"""The same data and seed give the same bits, on one thread and on two."""

import json
import os
import subprocess
import sys

import pytest

from tasks.models import KINDS
from tests.conftest import ROOT

N_ROWS = 30_000
SCRIPT = """
import hashlib, json, sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from tasks.training.checkpoint import learned_state
from tasks.hashing.contract import HashContract
from tasks.hashing.feature_set import FeatureSet
from tasks.hashing.store import write_features
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.models import KINDS, make_learner
from tasks.models.artifact import freeze
from tasks.schema import load_schema
from tests.tasks.models.rows import fit_anew

csv, folder, n_threads = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
pa.set_cpu_count(n_threads)
schema = load_schema("avazu")
contract = HashContract.from_schema(schema, bits=16)
found = {}


def note(name, arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    found[name] = digest.hexdigest()


ingest_log(str(csv), folder / "log", schema=schema)
log = Log.open(folder / "log")
found["ingest"] = log.digest
cut = log.n_rows * 4 // 5
for name, span in {"train": (0, cut), "valid": (cut, log.n_rows)}.items():
    write_features(log, span, contract, folder / name, 4096)
    files = sorted((folder / name).iterdir())
    note(f"hash {name}", [np.frombuffer(path.read_bytes(), np.uint8) for path in files])
train, valid = FeatureSet(folder / "train"), FeatureSet(folder / "valid")
for kind in KINDS:
    learner = make_learner(kind, contract.n_features, random_state=3)
    history, learner = fit_anew(learner, train, valid, max_epochs=3, negative_rate=0.7, seed=3)
    note(f"losses {kind}", [[e.train_log_loss, e.valid_log_loss, e.valid_roc_auc] for e in history.epochs])
    held = learned_state(learner)
    note(f"learned {kind}", [held[name] for name in sorted(held) if isinstance(held[name], np.ndarray)])
    note(f"predicted {kind}", [learner.predict_codes(valid.load().codes)])
    found[f"version {kind}"] = freeze(learner, contract, name=kind).version
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What a process with one thread and one with two made of the same CSV."""
    folder = tmp_path_factory.mktemp("bits")
    from tasks.simulation.simulate import write_csv

    write_csv(folder / "log.csv", N_ROWS, seed=7)

    def run(n_threads):
        names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        env = os.environ | dict.fromkeys(names, str(n_threads))
        place = folder / f"threads-{n_threads}"
        command = [
            sys.executable,
            "-c",
            SCRIPT,
            str(folder / "log.csv"),
            str(place),
            str(n_threads),
        ]
        done = subprocess.run(
            command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run(1), run(2)


STAGES = ["ingest", "hash train", "hash valid"]
LEARNED = ["losses", "learned", "predicted", "version"]


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES + [f"{what} {kind}" for kind in KINDS for what in LEARNED])
def test_one_thread_and_two_give_the_same_bits(found, stage):
    """Files, codes, weights, losses and predictions; the order in which threads finish changes nothing."""
    one, two = found
    assert one[stage] == two[stage]


@pytest.mark.slow
def test_nothing_is_left_out(found):
    """Every digest that was taken is compared."""
    assert set(found[0]) == set(STAGES) | {f"{what} {kind}" for kind in KINDS for what in LEARNED}
