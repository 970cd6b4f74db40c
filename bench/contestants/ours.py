"""Clicklab's pipeline with FTRL-proximal at its defaults, one epoch, from any of its three inputs.

``csv`` ingests the raw file into the canonical log, hashes the log into a feature set and trains on
it; ``log`` starts at the log, ``features`` at the feature set. Each stage writes its files as in `make run`.
``prepare`` writes what the later stages start from and the held-out day, which training validates on.
"""

import importlib.metadata
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.data import contract_of
from bench.pipeline_path import hash_rows, train
from bench.stopwatch import Stopwatch, contestant_arguments
from tasks.hashing.feature_set import FeatureSet
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.models.predict import predict_stream
from tasks.schema import load_schema

HEAD_LINES = 1_001  # header and rows that load the compiled code


def prepare(arguments, contract, features):
    """Write the feature sets of the training days and of the held-out day."""
    log, n_train = Log.open(arguments.data / "log"), arguments.meta["n_train"]
    for name, span in (("train", (0, n_train)), ("test", (n_train, log.n_rows))):
        hash_rows(log, span, contract, features / name)


def run(variant, csv, arguments, contract, features, work, watch):
    """Return learner and history after the stages from `variant` on; `work` receives their files."""
    log_folder, train_folder = arguments.data / "log", features / "train"
    if variant == "csv":
        log_folder = work / "log"
        with watch.phase("ingest"):
            ingest_log(str(csv), log_folder, schema=load_schema("avazu"))
    if variant in ("csv", "log"):
        train_folder = work / "train"
        with watch.phase("hash"):
            log = Log.open(log_folder)
            n_rows = log.n_rows if variant == "csv" else arguments.meta["n_train"]
            hash_rows(log, (0, n_rows), contract, train_folder)
    with watch.phase("train"):
        valid = FeatureSet(features / "test")
        return train(FeatureSet(train_folder), valid, checkpoint=work / "checkpoint.npz")


def load_kernels(arguments, contract, features, work):
    """Run every stage on a few rows: loading (or compiling) machine code is start-up, not training."""
    head = work / "head.csv"
    with (arguments.data / "train.csv").open() as lines:
        head.write_text("".join(islice(lines, HEAD_LINES)))
    run("csv", head, arguments, contract, features, work, Stopwatch())


def main():
    """Run one measured training."""
    arguments = contestant_arguments("csv", "log", "features", "prepare")
    contract = contract_of(arguments.bits)
    features, variant = arguments.data / f"features-{arguments.bits}", arguments.variant
    if variant == "prepare":
        prepare(arguments, contract, features)
        variant = "features"
    with TemporaryDirectory(dir=arguments.data) as folder:
        for name in ("warm-up", "measured"):
            (Path(folder) / name).mkdir()
        load_kernels(arguments, contract, features, Path(folder) / "warm-up")
        csv, work, watch = arguments.data / "train.csv", Path(folder) / "measured", Stopwatch()
        watch.start()
        learner, history = run(variant, csv, arguments, contract, features, work, watch)
        watch.stop(arguments.meta["n_train"])
    if arguments.predict:
        np.save(arguments.predict, predict_stream(learner, FeatureSet(features / "test"))[1])
    versions = {name: importlib.metadata.version(name) for name in ("clicklab", "numba", "pyarrow")}
    loss = history.epochs[0].train_log_loss
    watch.write(arguments.result, versions=versions, progressive_log_loss=loss)


if __name__ == "__main__":
    main()
