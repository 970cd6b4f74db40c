"""Field importance: how much worse a model predicts without a field."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from tasks.errors import InputError

SHUFFLED = 5_000  # rows at most where each field costs a pass of the model


def field_importance(model: Any, rows: Any, *, max_rows: int = 50_000) -> pd.DataFrame:
    """Return how much log loss rises when a field's part of the logit is replaced by its mean.

    Parameters
    ----------
    model
        A saved model (:class:`tasks.models.artifact.ScoringModel`).
    rows
        A feature set with labels, preferably one that the model was not trained on.
    max_rows
        Maximum number of rows, taken evenly over the whole set.

    Returns
    -------
    DataFrame
        Columns ``field`` and ``importance`` (nats; below 0 the model is better off without it), most
        important first; time features and crosses are fields too.

    Notes
    -----
    Where a logit is no sum over fields (a neural network, trees), a field's values are shuffled among the rows
    instead, at most 5,000 of them (Breiman 2001, "Random forests", section 10).

    Fields share information: of two that carry the same, each looks unimportant alone.
    """
    fields = model.contract.columns_of_token_fields
    codes, labels, weight = _spread(
        rows, max_rows if model.has_contributions else min(max_rows, SHUFFLED)
    )
    if model.has_contributions:
        parts = model.contributions_codes(codes)
        parts = np.column_stack([parts[:, columns].sum(axis=1) for columns in fields.values()])
        logit = parts.sum(axis=1) + model.intercept
        base = _mean_loss(logit, labels, weight)
        means = np.average(parts, axis=0, weights=weight)
        others = (logit - part + mean for part, mean in zip(parts.T, means, strict=True))
        rise = [_mean_loss(other, labels, weight) - base for other in others]
    else:
        base = _mean_loss(model.logits(codes), labels, weight)
        shuffled = _shuffled(codes, fields.values())
        rise = [_mean_loss(model.logits(other), labels, weight) - base for other in shuffled]
    table = pd.DataFrame({"field": list(fields), "importance": rise})
    return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def _shuffled(codes: np.ndarray, fields: Iterable[slice]) -> Iterator[np.ndarray]:
    """Yield the rows once for each field, the codes of that field in another order."""
    for columns in fields:
        other = codes.copy()
        other[:, columns] = np.random.default_rng(columns.start).permutation(codes[:, columns])
        yield other


def _spread(rows: Any, max_rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    step, offset = max(1, -(-rows.n_rows // max_rows)), 0
    codes, labels = [], []
    weights: list[np.ndarray] = []
    for batch in rows.batches():
        picked = slice(-offset % step, None, step)
        codes.append(batch.codes[picked])
        labels.append(batch.label[picked])
        if (weight := getattr(batch, "weight", None)) is not None:
            weights.append(weight[picked])
        offset += len(batch.label)
    if not offset:
        raise InputError("there are no rows to find the importance of fields on")
    weight = np.concatenate(weights) if weights else None
    return np.concatenate(codes), np.concatenate(labels), weight


def _mean_loss(logit: np.ndarray, labels: np.ndarray, weight: np.ndarray | None) -> float:
    losses = np.logaddexp(0, np.where(labels == 1, -logit, logit))
    return float(np.average(losses, weights=weight))
