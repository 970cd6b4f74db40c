"""Field importance: how much worse a model predicts without a field, on rows that it has not learned."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from tasks.errors import InputError
from tasks.evaluation.evidence import holm
from tasks.evaluation.rows import Z_95, mean_with_error

SHUFFLED = 5_000  # rows at most where each field costs a pass of the model
_ALPHA = 0.05  # chance of naming a field that does no harm


def field_importance(
    model: Any,
    rows: Any,
    *,
    max_rows: int = 50_000,
    weight: np.ndarray | None = None,
    cluster: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return how much log loss rises when a field's part of the logit is replaced by its mean.

    Parameters
    ----------
    model
        A saved model (:class:`tasks.models.artifact.ScoringModel`).
    rows
        A feature set with labels that the model has *not* learned: on rows that it has, a field that only remembers them
        looks useful.
    max_rows
        Maximum number of rows, taken evenly over the whole set.
    weight
        Impressions per row, of the whole set; None: those of its batches, or 1.
    cluster
        What each row of the whole set belongs to (:mod:`tasks.evaluation.clusters`); None: rows are independent.

    Returns
    -------
    DataFrame
        Columns ``field``, ``importance`` (nats; below 0 the model is better off without it), ``low`` and ``high`` (its
        95% interval), ``harms`` (below 0 by more than chance, allowing for the number of fields), most important first;
        features and crosses are fields too.

    Notes
    -----
    Where a logit is no sum over fields (a neural network, trees), a field's values are shuffled among the rows
    instead, at most 5,000 of them (Breiman 2001, "Random forests", section 10). That is noise in place of the field, where
    the mean is nothing in its place: it shows less often that a field harms.

    Fields share information: of two that carry the same, each looks unimportant alone.

    ``harms`` is Holm's rule at 5% over one-sided normal tests, so that of fields which are worth nothing none is
    named in 95% of cases.
    """
    fields = model.contract.columns_of_token_fields
    most = max_rows if model.has_contributions else min(max_rows, SHUFFLED)
    codes, labels, known, picked = _spread(rows, most)
    weight = known if weight is None else np.asarray(weight)[picked]
    together = None if cluster is None else np.asarray(cluster)[picked]
    if model.has_contributions:
        parts = model.contributions_codes(codes)
        parts = np.column_stack([parts[:, columns].sum(axis=1) for columns in fields.values()])
        logit = parts.sum(axis=1) + model.intercept
        means = np.average(parts, axis=0, weights=weight)
        without = (logit - part + mean for part, mean in zip(parts.T, means, strict=True))
    else:
        logit = model.logits(codes)
        without = (model.logits(other) for other in _shuffled(codes, fields.values()))
    base = _losses(logit, labels)
    rises = np.column_stack([_losses(other, labels) - base for other in without])
    mean, error = mean_with_error(rises, weight, together)
    table = pd.DataFrame({"field": list(fields), "importance": mean})
    table["low"], table["high"] = mean - Z_95 * error, mean + Z_95 * error
    table["harms"] = _harm(mean, error)
    return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def importance_by_model(
    scored: Mapping[str, Any], names: Iterable[str], rows: Any, test: Any
) -> dict[str, pd.DataFrame]:
    """Return :func:`field_importance` of some models on the test rows.

    Parameters
    ----------
    scored
        Models with their predictions (:class:`tasks.evaluation.candidates.Scored`).
    names
        Which of them.
    rows, test
        The hashed test rows, and what is known of them (:class:`tasks.evaluation.candidates.TestRows`).
    """
    cluster = test.clusters.ids if test.clusters is not None else None
    how = {"weight": test.weight, "cluster": cluster}
    return {name: field_importance(scored[name].model, rows, **how) for name in names}


def harmful(table: pd.DataFrame) -> list[str]:
    """Return the fields of a table of importance that harm, the worst first."""
    return table.loc[table["harms"], "field"].tolist()[::-1]


def harm_note(model: str, fields: list[str]) -> str | None:
    """Return which fields harm a model, and what to do, in a sentence; None without any.

    Examples
    --------
    >>> harm_note("ftrl", ["device_ip"])
    'without device_ip, ftrl would be better on the test rows by more than chance explains; to take it out, add to the schema: drop: [device_ip]'
    """
    if not fields:
        return None
    quoted = ", ".join(f'"{name}"' if "*" in name else name for name in fields)
    return (
        f"without {', '.join(fields)}, {model} would be better on the test rows by more than chance explains; to take "
        f"{'it' if len(fields) == 1 else 'them'} out, add to the schema: drop: [{quoted}]"
    )


def _harm(mean: np.ndarray, error: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr

    with np.errstate(divide="ignore", invalid="ignore"):
        chance = np.where(error > 0, ndtr(mean / error), 1.0)
    return holm(chance, _ALPHA)


def _shuffled(codes: np.ndarray, fields: Iterable[slice]) -> Iterator[np.ndarray]:
    """Yield the rows once for each field, the codes of that field in another order."""
    for columns in fields:
        other = codes.copy()
        other[:, columns] = np.random.default_rng(columns.start).permutation(codes[:, columns])
        yield other


def _spread(
    rows: Any, max_rows: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
    """Return codes, labels and weights of every k-th row, and their numbers."""
    step, offset = max(1, -(-rows.n_rows // max_rows)), 0
    codes, labels, weights = [], [], []
    for batch in rows.batches():
        picked = slice(-offset % step, None, step)
        codes.append(batch.codes[picked])
        labels.append(batch.label[picked])
        if (weight := getattr(batch, "weight", None)) is not None:
            weights.append(weight[picked])
        offset += len(batch.label)
    if not offset:
        raise InputError("there are no rows to find the importance of fields on")
    known = np.concatenate(weights) if weights else None
    return np.concatenate(codes), np.concatenate(labels), known, np.arange(0, offset, step)


def _losses(logit: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, np.where(labels == 1, -logit, logit))
