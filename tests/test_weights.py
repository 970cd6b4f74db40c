"""A log of counts from its file to a probability: click rate, training, calibration, gates' metrics."""

import csv

import numpy as np
import pytest

from tasks.evaluation.metrics import evaluate
from tasks.hashing.features.past_counts import contract_for
from tasks.hashing.split_features import write_split
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.logs.split import split_log
from tasks.models import make_learner
from tasks.models.artifact import freeze
from tasks.schema import Schema
from tasks.training.fit import fit_stream

RAW = {
    "name": "counted",
    "label": {"column": "clicks", "impressions": "shown"},
    "fields": {"ad": {}, "query": {}, "position": {}},
}
MOST = 2000  # impressions of a row


def rows_of_counts(n_rows=20_000):
    """Return columns as KDD Cup 2012 has them, most rows of few impressions, some of very many; and true probabilities."""
    draw = np.random.default_rng(11)
    ad, query = draw.integers(0, 30, n_rows), draw.integers(0, 150, n_rows)
    position = draw.integers(0, 3, n_rows)
    logit = -4 + np.linspace(-1.5, 1.5, 30)[ad] + 0.5 * (1 - position)
    p_true = 1 / (1 + np.exp(-logit - np.linspace(-0.5, 0.5, 150)[query]))
    many = np.where(draw.random(n_rows) < 0.02, 50, 1)
    shown = np.minimum(draw.geometric(0.25, n_rows) * many, MOST)
    names = {"ad": ad, "query": query, "position": position}
    return {"clicks": draw.binomial(shown, p_true), "shown": shown, **names}, p_true


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """The log, its feature sets, and what was written into it."""
    folder = tmp_path_factory.mktemp("counted")
    columns, p_true = rows_of_counts()
    with (folder / "raw.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    schema = Schema.from_dict(RAW)
    ingest_log(str(folder / "raw.csv"), folder / "log", schema=schema)
    log = Log.open(folder / "log")
    split = split_log(log)
    contract = contract_for(log, schema, split, bits=14)
    return log, write_split(log, split, contract, folder / "features"), columns, p_true


def test_clicks_and_impressions_arrive(counted):
    """No impression is lost or counted twice between file and feature sets."""
    _, features, columns, _ = counted
    weight = np.concatenate([one.weights() for one in features.values()])
    label = np.concatenate([one.load().label for one in features.values()])
    assert weight.sum() == columns["shown"].sum()
    assert weight[label == 1].sum() == columns["clicks"].sum()


@pytest.mark.parametrize(
    "kind", ["ftrl", "fm", "sgd", "tasks.models.neural_net:NeuralNet", "lightgbm:LGBMClassifier"]
)
def test_predictions_are_calibrated_by_impressions(counted, kind):
    """Expected clicks over clicks of the test rows, and better than the click rate alone by most of what is possible."""
    log, features, _, p_true = counted
    model = {"kind": kind, "input": "hashed"} if kind.startswith("lightgbm") else kind
    learner = make_learner(model, features["train"].contract.n_features, random_state=0)
    fit_stream(learner, features["train"], features["valid"], max_epochs=20)
    saved, test = freeze(learner, features["test"].contract, name="m"), features["test"].load()
    found = evaluate(test.label, saved.predict_codes(test.codes), test.weight)
    assert found["calibration_ratio"] == pytest.approx(1, abs=0.15)
    rate, shown = log.ctr, rows_of_counts()[0]["shown"]
    entropy = -np.average(p_true * np.log(p_true) + (1 - p_true) * np.log1p(-p_true), weights=shown)
    possible = entropy / -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate))
    assert found["normalized_entropy"] < 1 - 0.5 * (1 - possible)
