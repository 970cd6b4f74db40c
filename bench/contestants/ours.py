"""Clicklab's FTRL-proximal with its defaults, one epoch: from Parquet, from CSV, from rows hashed before.

``parquet`` and ``csv`` read and hash on one thread while the other learns; ``hashed`` is what a
second epoch costs, the feature set being written beforehand by ``make-hashed``.
"""

import importlib.metadata

import numpy as np

from bench.stopwatch import Stopwatch, contestant_arguments
from tasks.hashing.contract import HashContract
from tasks.hashing.store import FeatureSet, make_batch, write_features
from tasks.log import Log
from tasks.models import make_learner
from tasks.schema import load_schema
from tasks.streaming import csv_batches, hash_stream, log_batches


def stream(arguments, schema, contract):
    """Return an iterator over the hashed training rows."""
    n_train = arguments.meta["n_train"]
    if arguments.variant == "csv":
        return hash_stream(csv_batches(arguments.data / "train.csv", schema), contract)
    if arguments.variant == "parquet":
        log = Log.open(arguments.data / "log")
        return hash_stream(log_batches(log, schema, stop=n_train), contract)
    folder = arguments.data / f"hashed-{arguments.bits}"
    if arguments.variant == "make-hashed":
        write_features(Log.open(arguments.data / "log"), (0, n_train), contract, folder)
    return FeatureSet(folder).batches()


def held_out(arguments, schema, contract):
    """Yield the hashed rows of the held-out day."""
    log = Log.open(arguments.data / "log")
    for batch in log_batches(log, schema, start=arguments.meta["n_train"]):
        yield make_batch(batch, contract)


def load_kernels(contract, schema, arguments):
    """Have Numba load (or compile) the machine code, which is start-up and not training."""
    log = Log.open(arguments.data / "log")
    batch = make_batch(next(log_batches(log, schema, stop=1)), contract)
    make_learner("ftrl", contract.n_features).partial_fit_codes(batch.codes, batch.label)


def main():
    """Run one measured training."""
    arguments = contestant_arguments("parquet", "csv", "hashed", "make-hashed")
    schema = load_schema("avazu")
    contract = HashContract.from_schema(schema, bits=arguments.bits)
    load_kernels(contract, schema, arguments)
    watch, n_rows, loss = Stopwatch(), 0, 0.0
    watch.start()
    learner = make_learner("ftrl", contract.n_features)
    batches = stream(arguments, schema, contract)
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
        parts = [learner.predict_codes(b.codes) for b in held_out(arguments, schema, contract)]
        np.save(arguments.predict, np.concatenate(parts))
    versions = {name: importlib.metadata.version(name) for name in ("clicklab", "numba", "pyarrow")}
    watch.write(arguments.result, versions=versions, progressive_log_loss=loss / n_rows)


if __name__ == "__main__":
    main()
