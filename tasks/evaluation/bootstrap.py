"""Bootstrap intervals of metrics in one pass over sorted rows per resample.

A resample gives each row a Poisson(1) count instead of drawing rows: the multinomial bootstrap without
its fixed number of rows. Counts come from a hash of seed, resample and row, so that two models that are
compared see the very same resamples, in any order of their rows.

A row of weight w is w impressions: its count is Poisson(w), the very counts of w rows where w is a whole number
up to 64. Where rows go together, in campaigns or persons, the hash takes the cluster in place of the row, so that a resample
holds all of its rows as often, or none of them.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from tasks.evaluation.rows import checked, checked_cluster, checked_weight, row_losses
from tasks.models.kernels.splitmix import GOLDEN_GAMMA, mix64_compiled

METRICS = ("log_loss", "normalized_entropy", "roc_auc", "calibration_ratio")
# P(Poisson(1) <= k) on the scale of 32 random bits; beyond 12 lies less than one part in 10**10.
_THRESHOLDS = tuple(
    min(round(2**32 * sum(math.exp(-1) / math.factorial(i) for i in range(k + 1))), 2**32 - 1)
    for k in range(13)
)


@njit(cache=True, nogil=True, error_model="numpy")
def _count(key, row, thresholds):
    """Return how often the row is in the resample: splitmix64 of key and row, read as a Poisson quantile."""
    draw = np.int64(mix64_compiled(key + np.uint64(row + 1) * GOLDEN_GAMMA) >> np.uint64(32))
    count = (
        np.int64(draw >= thresholds[0])
        + np.int64(draw >= thresholds[1])
        + np.int64(draw >= thresholds[2])
    )
    k = 3
    while count == k and k < thresholds.size and draw >= thresholds[k]:
        count += 1
        k += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _weighted_count(key, row, weight, thresholds):
    """Return a Poisson count of mean `weight`; `row` is the number of the row's first impression."""
    if weight <= 64 and weight == np.floor(weight):
        count = 0.0
        for one in range(np.int64(weight)):
            count += _count(key, row + one, thresholds)
        return count
    bits = mix64_compiled(key + np.uint64(row + 1) * GOLDEN_GAMMA)
    u = (np.float64(bits >> np.uint64(11)) + 0.5) * 2.0**-53
    if weight <= 64:  # by inversion
        count, chance = 0.0, np.exp(-weight)
        while u > chance and count < 400:
            u -= chance
            count += 1.0
            chance *= weight / count
        return count
    other = np.float64(mix64_compiled(bits) >> np.uint64(11)) * 2.0**-53
    z = np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * other)
    return max(0.0, np.floor(weight + np.sqrt(weight) * z + 0.5))


@njit(cache=True, nogil=True, error_model="numpy")
def _resample_sums(drawn, is_clustered, y, p, loss, weight, keys, thresholds, out):
    """Write, for each key, the counted sums of rows, clicks, p, loss and rank pairs to a row of `out`.

    `y`, `p`, `loss` and `weight` (empty: 1) are sorted by p; `drawn` is what is counted: each row's cluster, or the
    number of its first impression in the log. Pairs are (clicked, other) with the clicked row above, ties one half.
    """
    for b in range(keys.size):
        n_rows = n_clicks = pairs = 0.0
        sum_p = sum_loss = below = tied_clicks = tied_others = 0.0
        for i in range(drawn.size):
            if i and p[i] != p[i - 1]:
                pairs += tied_clicks * (below + 0.5 * tied_others)
                below += tied_others
                tied_clicks = tied_others = 0.0
            if weight.size and not is_clustered:
                count = _weighted_count(keys[b], drawn[i], weight[i], thresholds)
            else:
                count = float(_count(keys[b], drawn[i], thresholds))
                if weight.size:
                    count *= weight[i]
            n_rows += count
            n_clicks += count * y[i]
            sum_p += count * p[i]
            sum_loss += count * loss[i]
            tied_clicks += count * y[i]
            tied_others += count * (1.0 - y[i])
        pairs += tied_clicks * (below + 0.5 * tied_others)
        out[b, 0], out[b, 1], out[b, 2], out[b, 3], out[b, 4] = (
            n_rows,
            n_clicks,
            sum_p,
            sum_loss,
            pairs,
        )


def resampled(
    metric: str,
    y_true: np.ndarray,
    p_click: np.ndarray,
    losses: np.ndarray,
    *,
    n_resamples: int,
    seed: int,
    weight: np.ndarray | None = None,
    cluster: np.ndarray | None = None,
) -> np.ndarray:
    """Return the metric on each resample, float64 ``(n_resamples,)``; NaN where it is not defined.

    `y_true`, `p_click`, `losses` (the log loss of each row), `weight` and `cluster` are checked arrays.

    Raises
    ------
    ValueError
        If the metric is unknown or `n_resamples` below 1.
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, found {metric!r}")
    if n_resamples < 1:
        raise ValueError(f"n_resamples must be at least 1, found {n_resamples}")
    order = np.argsort(p_click, kind="stable")
    keys = np.random.SeedSequence(seed).generate_state(n_resamples, np.uint64)
    sums = np.empty((n_resamples, 5))
    thresholds = np.array(_THRESHOLDS, dtype=np.int64)
    drawn, weights = order, np.empty(0) if weight is None else weight[order]
    if cluster is not None:
        drawn = cluster[order]
    elif weight is not None:
        units = np.ceil(weight)
        drawn = (np.cumsum(units) - units)[order].astype(np.int64)
    by_p = (y_true[order], p_click[order], losses[order], weights)
    _resample_sums(drawn, cluster is not None, *by_p, keys, thresholds, sums)
    return _metric_of(metric, *sums.T)


def _metric_of(
    metric: str,
    n_rows: np.ndarray,
    n_clicks: np.ndarray,
    sum_p: np.ndarray,
    sum_loss: np.ndarray,
    pairs: np.ndarray,
) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        if metric == "calibration_ratio":
            return np.where(n_clicks > 0, sum_p / n_clicks, np.nan)
        if metric == "roc_auc":
            return pairs / (n_clicks * (n_rows - n_clicks))
        loss = sum_loss / n_rows
        if metric == "log_loss":
            return loss
        rate = n_clicks / n_rows
        entropy = -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate))
        return loss / entropy


def interval_of(values: np.ndarray, level: float) -> tuple[float, float]:
    """Return the ends of the percentile interval of the values that are defined; NaN if none is."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, found {level}")
    values = values[np.isfinite(values)]
    if not values.size:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _resampled(
    metric: str, y_true: Any, p_click: Any, *, weight: Any, cluster: Any, **how: Any
) -> np.ndarray:
    y_true, p_click = checked(y_true, p_click)
    rows: dict[str, Any] = {
        "weight": checked_weight(weight, len(y_true)),
        "cluster": checked_cluster(cluster, len(y_true)),
    }
    return resampled(metric, y_true, p_click, row_losses(y_true, p_click), **rows, **how)


def bootstrap_interval(
    metric: str,
    y_true: Any,
    p_click: Any,
    *,
    n_resamples: int = 200,
    seed: int = 0,
    level: float = 0.95,
    weight: Any = None,
    cluster: Any = None,
) -> tuple[float, float]:
    """Return the lower and upper end of a metric's percentile interval.

    Parameters
    ----------
    metric
        One of ``log_loss``, ``normalized_entropy``, ``roc_auc``, ``calibration_ratio``.
    y_true, p_click
        Labels 0 or 1 and probabilities, ``(n_rows,)``.
    n_resamples
        1 or more; the ends of a 95% interval want a few hundred.
    seed
        The same seed gives the same interval.
    level
        Share of resamples inside, between 0 and 1.
    weight
        Impressions per row, ``(n_rows,)``; None: 1.
    cluster
        What each row belongs to, integers ``(n_rows,)`` (:mod:`tasks.evaluation.clusters`); None: rows are
        independent. Rows of one campaign or person are not, and intervals by rows are then too narrow.

    Notes
    -----
    Few clusters, or one that holds most rows, make intervals by cluster too narrow. Resamples on which the metric is not defined are left out; NaN if that is all of them.

    References
    ----------
    Efron and Tibshirani (1993), chapter 13; Chamandy et al. (2012), "Estimating uncertainty for massive
    data streams", for Poisson counts.

    Examples
    --------
    >>> low, high = bootstrap_interval("log_loss", [0, 1] * 500, [0.4, 0.6] * 500)
    >>> round(low, 3) == round(high, 3) == 0.511  # every row has the same loss
    True
    """
    how = {"n_resamples": n_resamples, "seed": seed, "weight": weight, "cluster": cluster}
    return interval_of(_resampled(metric, y_true, p_click, **how), level)


def bootstrap_difference(
    metric: str,
    y_true: Any,
    p_click: Any,
    p_other: Any,
    *,
    n_resamples: int = 200,
    seed: int = 0,
    level: float = 0.95,
    weight: Any = None,
    cluster: Any = None,
) -> tuple[float, float]:
    """Return the interval of the metric of `p_click` minus that of `p_other`, both on the same resamples.

    Narrower than the two intervals suggest, because the models share the luck of the rows; an interval
    without 0 means that they differ. Parameters and notes as for :func:`bootstrap_interval`.

    Examples
    --------
    >>> bootstrap_difference("roc_auc", [0, 1, 0, 1], [0.1, 0.9, 0.2, 0.8], [0.1, 0.9, 0.2, 0.8])
    (0.0, 0.0)
    """
    how = {"n_resamples": n_resamples, "seed": seed, "weight": weight, "cluster": cluster}
    one, other = (_resampled(metric, y_true, p, **how) for p in (p_click, p_other))
    return interval_of(one - other, level)
