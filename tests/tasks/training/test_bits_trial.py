"""The trial of hash bits: the same rows at each size, and differences with their errors."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import ConfigError
from tasks.evaluation.metrics import log_loss
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import encode_batch
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.logs.split import split_log
from tasks.models import make_learner
from tasks.schema import load_schema
from tasks.training.bits_trial import bits_trial

BITS = [4, 10, 16]
CONTRACT = HashContract.from_schema(load_schema("avazu"), bits=8)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trial") / "log"
    ingest_log("sim://avazu?rows=6000&seed=7", folder, schema=load_schema("avazu"))
    return Log.open(folder)


@pytest.fixture(scope="module")
def trial(log):
    return bits_trial(log, CONTRACT, split_log(log), BITS[::-1], n_rows=2000)


def test_there_is_one_row_per_number_of_bits_in_order(trial):
    """Whatever order they were named in."""
    assert trial.index.tolist() == BITS
    assert trial.notna().all(axis=None)


def test_sixteen_weights_are_too_few(trial):
    """Collisions of everything with everything cost far more than the noise."""
    assert trial.loc[4, "excess"] > 2 * trial.loc[4, "excess_se"]
    assert trial.loc[4, "valid_roc_auc"] < trial["valid_roc_auc"].max()


def test_excess_is_the_loss_above_the_best(trial):
    """Zero at the best, which has no error."""
    expected = trial["valid_log_loss"] - trial["valid_log_loss"].min()
    np.testing.assert_allclose(trial["excess"], expected, atol=1e-12)
    best = trial["valid_log_loss"].idxmin()
    assert trial.loc[best, ["excess", "excess_se"]].tolist() == [0.0, 0.0]


def test_a_size_is_trained_and_scored_as_by_hand(log, trial):
    """One FTRL epoch on the rows before validation, log loss on the first rows of it."""
    schema, split = load_schema("avazu"), split_log(log)
    contract = HashContract.from_schema(schema, bits=10)

    def rows(start, stop):
        table = pa.Table.from_batches(log.batches(start=start, stop=stop)).unify_dictionaries()
        return encode_batch(table, contract), table.column(schema.label).to_numpy()

    learner = make_learner("ftrl", contract.n_features)
    learner.partial_fit_codes(*rows(split.train[1] - 2000, split.train[1]))
    codes, y_true = rows(split.valid[0], min(split.valid[1], split.valid[0] + 2000))
    expected = log_loss(y_true, learner.predict_codes(codes))
    assert trial.loc[10, "valid_log_loss"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("bits", "n_rows"), [([], 10), ([4], 0)])
def test_an_empty_trial_is_refused(log, bits, n_rows):
    """Before any row is read."""
    with pytest.raises(ConfigError, match="bits trial"):
        bits_trial(log, CONTRACT, split_log(log), bits, n_rows=n_rows)
