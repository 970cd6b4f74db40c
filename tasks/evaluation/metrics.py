"""How good predicted click probabilities are: loss, ranking, calibration; whole, by slice, with intervals.

Conventions: `y_true` holds 0 and 1, `p_click` probabilities in [0, 1], `weight` how many impressions a row stands
for (None: 1), all ``(n_rows,)``; a row of weight 3 counts as three equal rows. Results are built-in floats. A metric
that labels of one kind do not define is NaN.
"""

from typing import Any

import numpy as np
import pandas as pd

from tasks.evaluation.bootstrap import (
    bootstrap_difference,
    bootstrap_interval,
    checked,
    checked_weight,
    row_losses,
)

__all__ = [
    "bootstrap_difference",
    "bootstrap_interval",
    "by_slice",
    "calibration_curve",
    "calibration_ratio",
    "counts",
    "evaluate",
    "log_loss",
    "normalized_entropy",
    "roc_auc",
]


def log_loss(y_true: Any, p_click: Any, weight: Any = None) -> float:
    """Return the mean log loss in nats.

    Lower is better, from 0: ``-mean(y log p + (1 - y) log(1 - p))``.

    Parameters
    ----------
    y_true
        Labels 0 or 1, ``(n_rows,)``.
    p_click
        Probabilities in [0, 1], ``(n_rows,)``; clipped by 2.2e-16, so that the maximum for one row is 36.

    References
    ----------
    Good (1952), "Rational decisions"; scikit-learn's ``log_loss`` clips alike.

    Examples
    --------
    >>> round(log_loss([1, 0, 0, 1], [0.9, 0.1, 0.2, 0.8]), 6)
    0.164252
    """
    losses = row_losses(y_true, p_click)
    return float(np.average(losses, weights=checked_weight(weight, len(losses))))


def normalized_entropy(y_true: Any, p_click: Any, weight: Any = None) -> float:
    """Return log loss over the entropy of the click rate.

    Lower is better, from 0; 1 is knowing only the click rate of these rows:
    ``log_loss / -(c log c + (1 - c) log(1 - c))`` with ``c = mean(y)``. NaN with labels of one kind.

    References
    ----------
    He et al. (2014), "Practical lessons from predicting clicks on ads at Facebook", equation 1.

    Examples
    --------
    >>> normalized_entropy([1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25])
    1.0
    """
    y_true, p_click = checked(y_true, p_click)
    rate = float(np.average(y_true, weights=checked_weight(weight, len(y_true))))
    if rate in (0.0, 1.0):
        return float("nan")
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate))
    return log_loss(y_true, p_click, weight) / float(entropy)


def calibration_ratio(y_true: Any, p_click: Any, weight: Any = None) -> float:
    """Return the mean prediction over the click rate.

    Best at 1, from 0; above 1 predicts too many clicks: ``sum(p) / sum(y)``. NaN without clicks.

    References
    ----------
    He et al. (2014), section 3, "calibration".

    Examples
    --------
    >>> round(calibration_ratio([1, 0, 0, 0], [0.5, 0.25, 0.25, 0.25]), 6)
    1.25
    """
    y_true, p_click = checked(y_true, p_click)
    weight = checked_weight(weight, len(y_true))
    if weight is not None:
        y_true, p_click = weight * y_true, weight * p_click
    n_clicks = y_true.sum()
    return float(p_click.sum() / n_clicks) if n_clicks else float("nan")


def roc_auc(y_true: Any, p_click: Any, weight: Any = None) -> float:
    """Return the probability that a clicked row is ranked above one that was not.

    Higher is better, in [0, 1], 0.5 by chance; equal predictions count one half. NaN with labels of one
    kind.

    References
    ----------
    Hanley and McNeil (1982), "The meaning and use of the area under a ROC curve"; computed as the
    Mann-Whitney U: the pairs of a click and an other row below it, over all pairs.

    Examples
    --------
    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    y_true, p_click = checked(y_true, p_click)
    order = np.argsort(p_click)
    ranked, clicked = p_click[order], y_true[order]
    weight = checked_weight(weight, len(order))
    size = np.ones(len(order)) if weight is None else weight[order]
    first = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    clicks = np.add.reduceat(clicked * size, first)
    others = np.add.reduceat((1 - clicked) * size, first)
    pairs = clicks.sum() * others.sum()
    if not pairs:
        return float("nan")
    below = np.cumsum(others) - others
    return float((clicks * (below + others / 2)).sum() / pairs)


METRICS = {
    "log_loss": log_loss,
    "normalized_entropy": normalized_entropy,
    "roc_auc": roc_auc,
    "calibration_ratio": calibration_ratio,
}


def evaluate(y_true: Any, p_click: Any, weight: Any = None) -> dict[str, float]:
    """Return log loss, normalized entropy, AUC and calibration ratio, by those names.

    Examples
    --------
    >>> {name: round(value, 3) for name, value in evaluate([0, 1, 0, 1], [0.2, 0.6, 0.4, 0.7]).items()}
    {'log_loss': 0.4, 'normalized_entropy': 0.578, 'roc_auc': 1.0, 'calibration_ratio': 0.95}
    """
    return {name: metric(y_true, p_click, weight) for name, metric in METRICS.items()}


def counts(y_true: Any, p_click: Any, weight: Any = None) -> dict[str, float]:
    """Return ``n_impressions``, ``n_clicks`` and ``n_expected``, the clicks that the predictions announce.

    Examples
    --------
    >>> counts([1, 0, 0], [0.5, 0.25, 0.25], weight=[1, 1, 4])
    {'n_impressions': 6.0, 'n_clicks': 1.0, 'n_expected': 1.75}
    """
    y_true, p_click = checked(y_true, p_click)
    weight = checked_weight(weight, len(y_true))
    if weight is None:
        weight = np.ones(len(y_true))
    sums = {"n_impressions": weight, "n_clicks": weight * y_true, "n_expected": weight * p_click}
    return {name: float(values.sum()) for name, values in sums.items()}


def calibration_curve(
    y_true: Any, p_click: Any, *, n_bins: int = 20, weight: Any = None
) -> pd.DataFrame:
    """Return mean prediction and click rate in bins of about equally many rows, lowest predictions first.

    Equal predictions share a bin, so that there may be fewer bins than asked for.

    Returns
    -------
    DataFrame
        Columns ``p_mean``, ``y_mean`` (both in [0, 1]) and ``n_rows``.

    Examples
    --------
    >>> calibration_curve([0, 0, 1, 1], [0.1, 0.1, 0.6, 0.8], n_bins=2).round(3).to_dict("list")
    {'p_mean': [0.1, 0.7], 'y_mean': [0.0, 1.0], 'n_rows': [2, 2]}
    """
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1, found {n_bins}")
    y_true, p_click = checked(y_true, p_click)
    edges = np.unique(np.quantile(p_click, np.linspace(0, 1, n_bins + 1)[1:-1], method="lower"))
    bins = np.searchsorted(edges, p_click, side="left")
    n_rows = np.bincount(bins)
    weight = checked_weight(weight, len(y_true))
    if weight is None:
        weight = np.ones(len(y_true))
    sums = {"p_mean": weight * p_click, "y_mean": weight * y_true}
    total, used = np.bincount(bins, weight), n_rows > 0
    return pd.DataFrame(
        {name: np.bincount(bins, part)[used] / total[used] for name, part in sums.items()}
        | {"n_rows": n_rows[used]}
    )


def by_slice(y_true: Any, p_click: Any, values: Any, weight: Any = None) -> pd.DataFrame:
    """Return the metrics of each part of the rows, largest part first.

    Parameters
    ----------
    y_true, p_click
        Labels and probabilities, ``(n_rows,)``.
    values
        The part that each row belongs to, as text, ``(n_rows,)``.
    weight
        Impressions per row, ``(n_rows,)``; None: 1.

    Returns
    -------
    DataFrame
        Index the values, columns ``n_rows``, ``ctr``, those of :func:`counts` and of :func:`evaluate`.

    Examples
    --------
    >>> by_slice([0, 1, 1], [0.5, 0.5, 0.5], ["app", "app", "site"])["n_rows"].to_dict()
    {'app': 2, 'site': 1}
    """
    y_true, p_click = checked(y_true, p_click)
    codes, names = pd.factorize(np.asarray(values, dtype=object), sort=True, use_na_sentinel=False)
    if len(codes) != len(y_true):
        raise ValueError(f"values must hold one part per row, {len(y_true)}, found {len(codes)}")
    weight = checked_weight(weight, len(y_true))
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(names)))
    rows = []
    for part in np.split(order, ends[:-1]):
        these = (y_true[part], p_click[part], None if weight is None else weight[part])
        sums = counts(*these)
        ctr = sums["n_clicks"] / sums["n_impressions"]
        rows.append({"n_rows": len(part), "ctr": ctr, **sums, **evaluate(*these)})
    table = pd.DataFrame(rows, index=pd.Index([str(name) for name in names], dtype=object))
    return table.sort_values("n_rows", ascending=False, kind="stable")
