"""What each number of hash bits costs: the same quick model at each size, on the same rows."""

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from tasks.errors import ConfigError
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import columns_of, encode_batch
from tasks.logs.log import Log
from tasks.logs.split import Split
from tasks.models import make_learner
from tasks.schema import Schema
from tasks.training.quick_trial import quick_trial
from tasks.training.sampling import mean_tokens


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
    schema = Schema.from_dict(contract.schema, source="the schema of the hash contract")
    contracts = {n_bits: replace(contract, bits=n_bits) for n_bits in bits}
    start, stop = split.train
    first = next(log.batches(columns=columns_of(contract), start=start, stop=stop))
    n_tokens = mean_tokens(encode_batch(first, contract))
    candidates = {
        n_bits: (sized, make_learner("ftrl", sized.n_features, n_tokens=n_tokens))
        for n_bits, sized in contracts.items()
    }
    return quick_trial(log, schema, split, candidates, n_rows=n_rows).rename_axis("bits")
