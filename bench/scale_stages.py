"""One stage of the scale bench in its own process: ``python -m bench.scale_stages hash ...``."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import pipeline_path
from bench.stopwatch import Stopwatch
from tasks.evaluation import metrics
from tasks.hashing.batch import make_batch
from tasks.hashing.contract import HashContract
from tasks.hashing.feature_set import FeatureSet
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
    """Return the rows before the last day, and those of the last day."""
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
        pipeline_path.hash_rows(log, span, contract, folder / name)
    return {"n_rows": log.n_rows}


def train(folder: Path, n_rows: int, contract: HashContract) -> dict[str, Any]:
    """Train one epoch, which includes validation on the last day, and save the model."""
    features, valid = FeatureSet(folder / "train"), FeatureSet(folder / "test")
    learner, history = pipeline_path.train(features, valid, checkpoint=folder / "checkpoint.npz")
    save_model(folder / "model", learner, contract, name="ftrl")
    loss = history.epochs[0].train_log_loss
    return {"n_rows": features.n_rows, "progressive_log_loss": loss}


def evaluate(folder: Path, n_rows: int, contract: HashContract) -> dict[str, Any]:
    """Load the model and evaluate it on the last day."""
    y_true, p_click = predict_stream(load_model(folder / "model"), FeatureSet(folder / "test"))
    return {"n_rows": len(y_true), **metrics.evaluate(y_true, p_click)}


def load_kernels(contract: HashContract) -> None:
    """Load (or compile) the machine code, which is start-up and not part of a stage."""
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
