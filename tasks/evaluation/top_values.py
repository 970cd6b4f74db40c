"""Which values a model has learned most about: the largest weights, with the values behind them."""

from typing import Any

import numpy as np
import pandas as pd

from tasks.hashing.codes import split_codes

_COLUMNS = ["field", "value", "n_rows", "click_rate", "weight", "odds", "note"]
RARE = 30  # rows; the weight of a rarer value rests on a click or two


def top_values(model: Any, values: pd.DataFrame, *, n_values: int = 8) -> pd.DataFrame:
    """Return the values with the largest and the smallest weights.

    Parameters
    ----------
    model
        A saved model (:class:`tasks.models.artifact.ScoringModel`). Of a factorization machine only the
        weights of single values are used, not those of pairs. Of one without a weight per value, no value is.
    values
        As :func:`tasks.hashing.token_table.frequent_values` returns them, hashed with the model's contract.
    n_values
        Maximum number of values on each side.

    Returns
    -------
    DataFrame
        One row per value, largest weight first, those that raise the click probability before those that
        lower it. ``field``, ``value``, ``n_rows``, ``click_rate``; ``weight``, what the value adds to the
        logit; ``odds``, the factor on the odds of a click; ``note``: "rare" below 30 rows, and how many
        less frequent values of the table share the bucket, and so the weight.
    """
    if model.weights is None:
        return pd.DataFrame(columns=_COLUMNS)
    index, sign = split_codes(values["code"].to_numpy(dtype=np.int32))
    buckets = pd.Series(index).groupby(index)
    n_sharing = buckets.transform("size").to_numpy() - 1
    is_first = buckets.cumcount().to_numpy() == 0  # of its bucket, hence its most frequent value
    weight = model.weights[index].astype(np.float64) * sign
    table = values[["field", "value", "n_rows"]].reset_index(drop=True)
    table = table.assign(
        click_rate=(values["n_clicks"] / values["n_rows"]).to_numpy(),
        weight=weight,
        odds=np.exp(weight),
        note=list(map(_note, table["n_rows"].tolist(), n_sharing.tolist())),
    )[is_first].sort_values("weight", ascending=False, kind="stable", ignore_index=True)
    raising = table[table["weight"] > 0].head(n_values)
    lowering = table[table["weight"] < 0].tail(n_values)
    return pd.concat([raising, lowering], ignore_index=True)


def _note(n_rows: int, n_sharing: int) -> str:
    notes = ["rare"] * (n_rows < RARE)
    if n_sharing:
        notes.append(f"bucket shared with {n_sharing:,}")
    return ", ".join(notes)
