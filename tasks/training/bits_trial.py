"""What each number of hash bits costs: the same quick model at each size."""

from collections.abc import Iterable

import pandas as pd

from tasks.evaluation.metrics import log_loss, roc_auc
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import encode_batch
from tasks.logs.log import Log
from tasks.logs.split import Split
from tasks.models import make_learner
from tasks.schema import Schema


def bits_trial(
    log: Log, schema: Schema, split: Split, bits: Iterable[int], *, n_rows: int
) -> pd.DataFrame:
    """Return validation log loss and AUC of one FTRL epoch at each number of bits.

    Parameters
    ----------
    log, schema, split
        The validated log, its declaration, its parts.
    bits
        Numbers of bits to try.
    n_rows
        Train on the last `n_rows` rows before validation, judge on the first `n_rows` of it; few
        rows keep the trial quick and make collisions look cheaper than they are on the whole log.

    Returns
    -------
    DataFrame
        Index ``bits``, columns ``valid_log_loss`` (nats) and ``valid_auc``.
    """
    train = (max(split.train[0], split.train[1] - n_rows), split.train[1])
    valid = (split.valid[0], min(split.valid[1], split.valid[0] + n_rows))
    rows = {}
    for n_bits in bits:
        contract = HashContract.from_schema(schema, bits=n_bits)
        learner = make_learner("ftrl", contract.n_features)
        for codes, y in _encoded(log, schema, contract, train):
            learner.partial_fit_codes(codes, y)
        scored = [
            (y, learner.predict_codes(codes)) for codes, y in _encoded(log, schema, contract, valid)
        ]
        y_true = pd.concat([pd.Series(y) for y, _ in scored]).to_numpy()
        p_click = pd.concat([pd.Series(p) for _, p in scored]).to_numpy()
        rows[n_bits] = (log_loss(y_true, p_click), roc_auc(y_true, p_click))
    return pd.DataFrame.from_dict(
        rows, orient="index", columns=["valid_log_loss", "valid_auc"]
    ).rename_axis("bits")


def _encoded(log, schema, contract, span):
    columns = [schema.label, schema.time_column, *schema.field_names]
    for batch in log.batches(columns=columns, start=span[0], stop=span[1]):
        yield encode_batch(batch, contract), batch.column(schema.label).to_numpy()
