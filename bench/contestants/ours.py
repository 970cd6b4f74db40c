"""Clicklab's FTRL-proximal with its defaults, one epoch: from Parquet, from CSV, from rows hashed before.

``parquet`` and ``csv`` read and hash on one thread while the other learns; ``hashed`` is what a
second epoch costs, the feature set being written beforehand by ``make-hashed``.
"""

import importlib.metadata
from itertools import islice

import numpy as np

from bench.data import contract_of
from bench.stopwatch import Stopwatch, contestant_arguments
from tasks.hashing.store import FeatureSet, write_features
from tasks.logs.log import Log
from tasks.models import make_learner
from tasks.streaming import csv_stream, log_stream


def stream(arguments, contract):
    """Return an iterator over the hashed training rows."""
    n_train = arguments.meta["n_train"]
    if arguments.variant == "csv":
        return csv_stream(arguments.data / "train.csv", contract)
    if arguments.variant == "parquet":
        return log_stream(Log.open(arguments.data / "log"), contract, stop=n_train)
    folder = arguments.data / f"hashed-{arguments.bits}"
    if arguments.variant == "make-hashed":
        write_features(Log.open(arguments.data / "log"), (0, n_train), contract, folder)
    return FeatureSet(folder).batches()


def load_kernels(arguments, contract):
    """Have Numba load (or compile) the machine code, which is start-up and not training."""
    learner = make_learner("ftrl", contract.n_features)
    log = Log.open(arguments.data / "log")
    head = arguments.result.with_suffix(".csv")
    with (arguments.data / "train.csv").open() as lines:
        head.write_text("".join(islice(lines, 3)))
    for batches in (log_stream(log, contract, stop=2), csv_stream(head, contract)):
        for batch in batches:
            learner.partial_fit_codes(batch.codes, batch.label)


def main():
    """Run one measured training."""
    arguments = contestant_arguments("parquet", "csv", "hashed", "make-hashed")
    contract = contract_of(arguments.bits)
    load_kernels(arguments, contract)
    watch, n_rows, loss = Stopwatch(), 0, 0.0
    watch.start()
    learner = make_learner("ftrl", contract.n_features)
    batches = stream(arguments, contract)
    while True:
        with watch.phase("wait for hashed rows"):
            batch = next(batches, None)
        if batch is None:
            break
        with watch.phase("learn"):
            learner.partial_fit_codes(batch.codes, batch.label)
        n_rows += len(batch.label)
        loss += learner.loss_ * len(batch.label)
    watch.stop(n_rows)
    if arguments.predict:
        log = Log.open(arguments.data / "log")
        held_out = log_stream(log, contract, start=arguments.meta["n_train"])
        parts = [learner.predict_codes(batch.codes) for batch in held_out]
        np.save(arguments.predict, np.concatenate(parts))
    versions = {name: importlib.metadata.version(name) for name in ("clicklab", "numba", "pyarrow")}
    watch.write(arguments.result, versions=versions, progressive_log_loss=loss / n_rows)


if __name__ == "__main__":
    main()
