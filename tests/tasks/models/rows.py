"""Small hashed rows for the tests of learners: what a feature set gives, held in memory."""

from typing import NamedTuple

import numpy as np

from tasks.hashing.contract import HashContract
from tasks.schema import Schema
from tasks.training.epochs import Training
from tasks.training.fit import learn_anew, validate


class Batch(NamedTuple):
    codes: np.ndarray
    label: np.ndarray
    weight: np.ndarray | None = None


class MemoryRows:
    """A feature set in memory, cut into batches."""

    def __init__(self, codes, label, contract, *, batch_rows=256, weight=None):
        self.codes, self.label, self.contract, self.weight = codes, label, contract, weight
        self.n_rows, self.batch_rows = len(label), batch_rows

    def batches(self):
        for begin in range(0, self.n_rows, self.batch_rows):
            rows = slice(begin, begin + self.batch_rows)
            weight = None if self.weight is None else self.weight[rows]
            yield Batch(self.codes[rows], self.label[rows], weight)


def small_contract(bits=8, **more):
    raw = {
        "name": "small",
        "label": "click",
        "time": {"column": "hour", "format": "%y%m%d%H"},
        "fields": {"site": {}, "size": {}, "noise": {}},
    } | more
    return HashContract.from_schema(Schema.from_dict(raw), bits=bits)


def random_codes(rng, *, n_rows, n_tokens, n_features):
    index = rng.integers(0, n_features, (n_rows, n_tokens))
    return np.where(rng.random((n_rows, n_tokens)) < 0.5, index, ~index).astype(np.int32)


def learnable_rows(rng, *, n_rows, contract, batch_rows=256):
    """Rows whose click depends on the site strongly, on the size weakly, on the noise not at all."""
    values = np.column_stack(
        [
            rng.integers(0, 6, n_rows),
            10 + rng.integers(0, 4, n_rows),
            20 + rng.integers(0, 50, n_rows),
        ]
    )
    logit = np.linspace(-3, 1.5, 6)[values[:, 0]] + np.linspace(-0.4, 0.4, 4)[values[:, 1] - 10]
    label = (rng.random(n_rows) < 1 / (1 + np.exp(-logit))).astype(np.uint8)
    return MemoryRows(values.astype(np.int32), label, contract, batch_rows=batch_rows)


def fit_anew(learner, train, valid, **options):
    """Train until validation stops improving, then from scratch on both parts, as the notebook does."""
    with Training(learner, train, valid, **options) as run:
        for epoch in run.epochs():
            for rows in epoch.batches():
                run.learner.partial_fit_codes(*rows)
            epoch.finish(*validate(run.learner, run.valid))
    return run.history, learn_anew(run, train, valid)
