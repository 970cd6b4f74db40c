"""What an idea is worth on a sample: several models learn the same rows once and predict the same rows."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.evaluation.bootstrap import row_losses
from tasks.evaluation.metrics import roc_auc
from tasks.hashing.batch import weights_of
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import columns_of, encode_batch
from tasks.logs.log import Log
from tasks.logs.split import Split
from tasks.models import NOT_SEARCHED, make_learner
from tasks.schema import Schema
from tasks.storage.workspace import resolve
from tasks.training.sampling import Slice, rates_of, sample_batch

RECEIPT = "package.json"  # of the products: names the champion


def quick_trial(
    log: Log,
    schema: Schema,
    split: Split,
    candidates: Mapping[Any, tuple[HashContract, Any]],
    *,
    n_rows: int,
) -> pd.DataFrame:
    """Return validation log loss and AUC of each candidate after one epoch.

    Parameters
    ----------
    log, schema, split
        The validated log, its declaration, its parts. The test rows are left alone.
    candidates
        Hash contract and unfitted learner (``partial_fit_codes``, ``predict_codes``) by name.
    n_rows
        Each learns the last `n_rows` rows before validation and predicts its first `n_rows`; few rows keep the
        trial quick, and leave much to chance.

    Returns
    -------
    DataFrame
        One row per candidate, in their order. ``valid_log_loss`` (nats, lower is better) and ``valid_roc_auc``;
        ``excess``, the log loss above that of the best, 0 or more; ``excess_se``, its standard error, from
        the differences of the rows (the losses share the rows, so most of the noise cancels).
    """
    train = (max(split.train[0], split.train[1] - n_rows), split.train[1])
    valid = (split.valid[0], min(split.valid[1], split.valid[0] + n_rows))
    losses, table = {}, {}
    for name, (contract, learner) in candidates.items():
        learner.meet(contract)
        for batch in _encoded(log, schema, contract, train):
            learner.partial_fit_codes(*sample_batch(batch, 0, **rates_of(learner), seed=0))
        batches = list(_encoded(log, schema, contract, valid))
        p_click = np.concatenate([learner.predict_codes(batch.codes) for batch in batches])
        y_true = np.concatenate([batch.label for batch in batches])
        losses[name], weight = row_losses(y_true, p_click), None
        if schema.weight_column:
            weight = np.concatenate([batch.weight for batch in batches])
            losses[name] *= weight / weight.mean()
        table[name] = (float(losses[name].mean()), roc_auc(y_true, p_click, weight))
    best = min(table, key=lambda name: table[name][0])
    rows = {name: (*table[name], *_excess(losses[name] - losses[best])) for name in table}
    columns = ["valid_log_loss", "valid_roc_auc", "excess", "excess_se"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("candidate")


def champion_learner(products: str | Path, n_features: int) -> tuple[str, Any]:
    """Return name and an unfitted learner of the champion's kind with its parameters.

    Learned on the same sample, it is what an idea competes with; the champion itself knows many more rows. FTRL with
    its defaults stands in where no champion was packaged, or where it does not learn from hashed rows in a stream.

    Parameters
    ----------
    products
        The folder of the pipeline's products.
    n_features
        Number of weights.
    """
    folder = resolve(products)
    try:
        name = str(json.loads((folder / RECEIPT).read_text())["model"])
        record = json.loads((folder / "models" / name / "model.json").read_text())
        kept = {key: value for key, value in record["params"].items() if key not in NOT_SEARCHED}
        learner = make_learner(record["kind"], n_features, **kept)
        if hasattr(learner, "partial_fit_codes"):
            return f"champion ({name})", learner
    except (OSError, ValueError, KeyError, TypeError):  # a ConfigError is a ValueError
        pass
    return "ftrl", make_learner("ftrl", n_features)


def _excess(difference: np.ndarray) -> tuple[float, float]:
    """Return the mean difference of paired losses and its standard error."""
    return float(difference.mean()), float(difference.std() / np.sqrt(len(difference)))


def _encoded(
    log: Log, schema: Schema, contract: HashContract, span: tuple[int, int]
) -> Iterator[Slice]:
    weight = schema.weight_column
    columns = [schema.label, *([weight] if weight else []), *columns_of(contract)]
    for batch in log.batches(columns=columns, start=span[0], stop=span[1]):
        label = batch.column(schema.label).to_numpy()
        yield Slice(encode_batch(batch, contract), label, weights_of(batch, schema))
