"""What each number of hash bits costs: the same quick model at each size, on the same rows."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from tasks.errors import ConfigError
from tasks.evaluation.bootstrap import row_losses
from tasks.evaluation.metrics import roc_auc
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import columns_of, encode_batch
from tasks.logs.log import Log
from tasks.logs.split import Split
from tasks.models import make_learner


def bits_trial(
    log: Log, contract: HashContract, split: Split, bits: Iterable[int], *, n_rows: int
) -> pd.DataFrame:
    """Return validation log loss and AUC of one FTRL epoch at each number of bits.

    Parameters
    ----------
    log, contract, split
        The validated log, what it is hashed with (its own number of bits is ignored), its parts.
    bits
        Numbers of bits to try.
    n_rows
        Train on the last `n_rows` rows before validation, validate on its first `n_rows`; few rows keep
        the trial quick and make collisions look cheaper than they are on the whole log. 1 or more.

    Returns
    -------
    DataFrame
        Index ``bits``. ``valid_log_loss`` (nats, lower is better) and ``valid_roc_auc``; ``excess``, the log
        loss above that of the best number of bits, 0 or more; ``excess_se``, its standard error, from the
        differences of the rows (both losses share the rows, so most of the noise cancels).

    Raises
    ------
    ConfigError
        If there are no numbers of bits, or `n_rows` is below 1.
    """
    bits = sorted(set(bits))
    if not bits or n_rows < 1:
        raise ConfigError(
            f"bits trial: needs numbers of bits and n_rows of at least 1, found {bits}, {n_rows}"
        )
    train = (max(split.train[0], split.train[1] - n_rows), split.train[1])
    valid = (split.valid[0], min(split.valid[1], split.valid[0] + n_rows))
    losses, table = {}, {}
    for n_bits in bits:
        sized = replace(contract, bits=n_bits)
        learner = make_learner("ftrl", sized.n_features)
        for codes, y in _encoded(log, sized, train):
            learner.partial_fit_codes(codes, y)
        scored = [(y, learner.predict_codes(c)) for c, y in _encoded(log, sized, valid)]
        y_true, p_click = (np.concatenate(arrays) for arrays in zip(*scored, strict=True))
        losses[n_bits] = row_losses(y_true, p_click)
        table[n_bits] = (float(losses[n_bits].mean()), roc_auc(y_true, p_click))
    best = min(bits, key=lambda n_bits: table[n_bits][0])
    rows = {n_bits: (*table[n_bits], *_excess(losses[n_bits] - losses[best])) for n_bits in bits}
    columns = ["valid_log_loss", "valid_roc_auc", "excess", "excess_se"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("bits")


def _excess(difference: np.ndarray) -> tuple[float, float]:
    """Return the mean difference of paired losses and its standard error."""
    return float(difference.mean()), float(difference.std() / np.sqrt(len(difference)))


def _encoded(
    log: Log, contract: HashContract, span: tuple[int, int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    label = contract.schema["label"]
    for batch in log.batches(columns=[label, *columns_of(contract)], start=span[0], stop=span[1]):
        yield encode_batch(batch, contract), batch.column(label).to_numpy()
