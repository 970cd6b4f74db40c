"""One stage of the scale bench in a process of its own: ``python -m bench.scale_stages hash ...``."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.stopwatch import Stopwatch
from tasks.evaluation.metrics import evaluate as judge
from tasks.hashing.contract import HashContract
from tasks.hashing.store import FeatureSet, make_batch, write_features
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.models import make_learner
from tasks.models.artifact import freeze, load_model, save_model
from tasks.models.predict import predict_stream
from tasks.schema import load_schema
from tasks.simulation.simulate import simulate_batches

STAGES = ("ingest", "hash", "train", "evaluate")
SEED = 7


def _spans(log: Log) -> dict[str, tuple[int, int]]:
    """Return the rows before the last day, and those of it."""
    cut = log.n_rows - list(log.rows_by_day.values())[-1]
    return {"train": (0, cut), "test": (cut, log.n_rows)}


def ingest(folder: Path, n_rows: int, contract: HashContract) -> dict[str, Any]:
    """Simulate and ingest a log."""
    source = f"sim://avazu?rows={n_rows}&seed={SEED}"
    manifest = ingest_log(source, folder / "log", schema=load_schema("avazu"))
    return {"n_rows": manifest["n_rows"], "log_digest": manifest["digest"]}


def hash_rows(folder: Path, n_rows: int, contract: HashContract) -> dict[str, Any]:
    """Write the feature sets of all days but the last, and of the last."""
    log = Log.open(folder / "log")
    for name, span in _spans(log).items():
        write_features(log, span, contract, folder / name)
    return {"n_rows": log.n_rows}


def train(folder: Path, n_rows: int, contract: HashContract) -> dict[str, Any]:
    """Learn one epoch and save the model."""
    features, learner, loss = (
        FeatureSet(folder / "train"),
        make_learner("ftrl", contract.n_features),
        0.0,
    )
    for batch in features.batches():
        learner.partial_fit_codes(batch.codes, batch.label)
        loss += learner.loss_ * len(batch.label)
    save_model(folder / "model", learner, contract, name="ftrl")
    return {"n_rows": features.n_rows, "progressive_log_loss": loss / features.n_rows}


def evaluate(folder: Path, n_rows: int, contract: HashContract) -> dict[str, Any]:
    """Load the model and judge it on the last day."""
    y_true, p_click = predict_stream(load_model(folder / "model"), FeatureSet(folder / "test"))
    return {"n_rows": len(y_true), **judge(y_true, p_click)}


def load_kernels(contract: HashContract) -> None:
    """Have Numba load (or compile) the machine code, which is start-up and not a stage's work."""
    batch = make_batch(next(simulate_batches(2)), contract)
    learner = make_learner("ftrl", contract.n_features)
    learner.partial_fit_codes(batch.codes, batch.label)
    freeze(learner, contract, name="ftrl").predict_codes(batch.codes)


def main() -> None:
    """Run one measured stage."""
    parser = argparse.ArgumentParser()
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--bits", type=int, required=True)
    parser.add_argument("--result", type=Path, required=True)
    arguments = parser.parse_args()
    contract = HashContract.from_schema(load_schema("avazu"), bits=arguments.bits)
    stages: tuple[Callable[..., dict[str, Any]], ...] = (ingest, hash_rows, train, evaluate)
    work = dict(zip(STAGES, stages, strict=True))[arguments.stage]
    load_kernels(contract)
    watch = Stopwatch()
    watch.start()
    found = work(arguments.folder, arguments.rows, contract)
    watch.stop(found["n_rows"])
    arguments.result.write_text(json.dumps(watch.measured | found))


if __name__ == "__main__":
    main()
