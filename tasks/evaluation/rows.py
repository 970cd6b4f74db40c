"""Test rows as arrays that metrics can rely on: labels, predictions, weights, clusters; and the loss of each row."""

from typing import Any

import numpy as np

Z_95 = 1.959964  # of a normal distribution's two-sided 95% interval
_EPS = np.finfo(np.float64).eps


def checked(y_true: Any, p_click: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float64 arrays of one length.

    Raises
    ------
    ValueError
        If lengths differ or are 0, a label is not 0 or 1, or a probability is outside of [0, 1].
    """
    y_true, p_click = np.asarray(y_true, dtype=np.float64), np.asarray(p_click, dtype=np.float64)
    if y_true.ndim != 1 or y_true.shape != p_click.shape or not len(y_true):
        raise ValueError(
            f"y_true and p_click must be one-dimensional, of one length above 0, found {y_true.shape} and {p_click.shape}"
        )
    if not np.all((y_true == 0) | (y_true == 1)):
        raise ValueError("y_true must hold only 0 and 1")
    if not (p_click.min() >= 0 and p_click.max() <= 1):  # written so that NaN fails too
        raise ValueError(
            f"p_click must lie in [0, 1], found {p_click.min()} to {p_click.max()}; pass probabilities, not logits"
        )
    return y_true, p_click


def checked_weight(weight: Any, n_rows: int) -> np.ndarray | None:
    """Return the weights as float64 ``(n_rows,)``; None stays None: each row is one impression.

    Raises
    ------
    ValueError
        If there is not one finite weight above 0 per row.
    """
    if weight is None:
        return None
    weight = np.asarray(weight, dtype=np.float64)
    if weight.shape != (n_rows,):
        raise ValueError(f"weight must hold one number per row, {n_rows}, found {weight.shape}")
    if not (weight.min() > 0 and weight.max() < np.inf):  # written so that NaN fails too
        raise ValueError(
            f"weight must be above 0 and finite, found {weight.min()} to {weight.max()}"
        )
    return weight


def row_losses(y_true: Any, p_click: Any) -> np.ndarray:
    """Return the log loss of each row in nats, float64 ``(n_rows,)``, probabilities clipped by 2.2e-16."""
    y_true, p_click = checked(y_true, p_click)
    p_of_label = np.where(y_true == 1, p_click, 1 - p_click)
    return -np.log(np.clip(p_of_label, _EPS, 1.0))


def checked_cluster(cluster: Any, n_rows: int) -> np.ndarray | None:
    """Return the clusters as int64 ``(n_rows,)``; None stays None: rows are independent.

    Raises
    ------
    ValueError
        If there is not one integer per row.
    """
    if cluster is None:
        return None
    cluster = np.asarray(cluster)
    if cluster.shape != (n_rows,) or cluster.dtype.kind not in "iu":
        raise ValueError(
            f"cluster must hold one integer per row, {n_rows}, found {cluster.dtype} {cluster.shape}"
        )
    return cluster.astype(np.int64)


def mean_with_error(
    values: Any, weight: Any = None, cluster: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of each column of values over the rows, and its standard error.

    Parameters
    ----------
    values
        Numbers, ``(n_rows,)`` or ``(n_rows, n_columns)``.
    weight, cluster
        As in :func:`tasks.evaluation.bootstrap.bootstrap_interval`.

    Notes
    -----
    The variance is that of the Poisson bootstrap to first order: ``sum((sum over a cluster of w (x - mean))**2) /
    sum(w)**2``, and of single rows ``sum(w (x - mean)**2) / sum(w)**2``.

    References
    ----------
    Liang and Zeger (1986), "Longitudinal data analysis using generalized linear models" (the sandwich of clusters).

    Examples
    --------
    >>> mean, error = mean_with_error([0.0, 1.0, 0.0, 1.0])
    >>> float(mean), float(error)
    (0.5, 0.25)
    >>> float(mean_with_error([0.0, 1.0, 0.0, 1.0], cluster=[1, 2, 1, 2])[1])
    0.3535533905932738
    """
    values = np.asarray(values, dtype=np.float64)
    weight = checked_weight(weight, len(values))
    cluster = checked_cluster(cluster, len(values))
    w = np.ones(len(values)) if weight is None else weight
    mean = w @ values / w.sum()
    off = values - mean
    if cluster is None:
        squares = w @ off**2
    else:
        _, codes = np.unique(cluster, return_inverse=True)
        columns = (off.T * w).reshape(-1, len(values))
        sums = np.stack([np.bincount(codes, one) for one in columns])
        squares = (sums**2).sum(axis=1).reshape(mean.shape)
    return mean, np.sqrt(squares) / w.sum()
