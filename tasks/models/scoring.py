"""Codes to click probabilities with a vector of weights: what training, evaluation and service share.

Conventions: codes are int32 ``(n_rows, n_tokens)``, the index of a weight where the sign is +1 and
its bitwise complement where it is -1; weights are ``(n_features,)``; a logit is the sum of a row's
signed weights and the intercept, added up in float64 from the first token to the last, so that one
row and a batch give the same bits.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from tasks.errors import ContractError


def frozen(array: np.ndarray) -> np.ndarray:
    """Return a read-only view, so that a kernel is compiled once for both kinds of array."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def checked_codes(codes: np.ndarray, n_features: int) -> np.ndarray:
    """Return the codes as kernels expect them: int32, two-dimensional, contiguous, read-only.

    Raises
    ------
    ContractError
        If they are not codes, or name a weight that the model does not have; kernels do not check.
    """
    array = np.asarray(codes)
    if array.ndim != 2 or array.dtype != np.int32:
        raise ContractError(
            f"codes must be an int32 array of shape (n_rows, n_tokens), found {array.dtype} {array.shape}"
        )
    if array.size and not -n_features <= array.min() <= array.max() < n_features:
        raise ContractError(
            f"codes name the weights {array.min()} to {array.max()}, but the model has {n_features:,}; "
            "hash the rows with the model's own contract"
        )
    return frozen(np.ascontiguousarray(array))


def checked_labels(y: Any, n_rows: int) -> np.ndarray:
    """Return labels as a read-only float64 array; ValueError unless they are 0 or 1, one per row."""
    labels = np.ascontiguousarray(y, dtype=np.float64)
    if labels.shape != (n_rows,):
        raise ValueError(f"y must hold one label per row, shape ({n_rows},), found {labels.shape}")
    if not np.all((labels == 0) | (labels == 1)):
        raise ValueError("y must hold only 0 and 1; map other labels before")
    return frozen(labels)


def checked_weights(sample_weight: Any, n_rows: int) -> np.ndarray:
    """Return row weights as a read-only float64 array; ValueError unless finite and 0 or above."""
    weights = np.ascontiguousarray(sample_weight, dtype=np.float64)
    if weights.shape != (n_rows,):
        raise ValueError(
            f"sample_weight must hold one weight per row, shape ({n_rows},), found {weights.shape}"
        )
    if not np.all(np.isfinite(weights) & (weights >= 0)):
        raise ValueError("sample_weight must hold finite numbers of 0 or above")
    return frozen(weights)


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """Return probabilities, float64, without overflow at logits of any size.

    Examples
    --------
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    logit = np.asarray(logit, dtype=np.float64)
    tail = np.exp(-np.abs(logit))
    return np.where(logit >= 0, 1.0, tail) / (1.0 + tail)


@njit(cache=True, nogil=True, error_model="numpy")
def decision_codes(codes, weights, intercept, out):
    """Write the logit of each row to `out`."""
    n_rows, n_tokens = codes.shape
    for i in range(n_rows):
        logit = 0.0
        for j in range(n_tokens):
            code = codes[i, j]
            negative = code >> 31
            logit += weights[np.uint32(code ^ negative)] * ((negative | 1) * 1.0)
        out[i] = logit + intercept


@njit(cache=True, nogil=True, error_model="numpy")
def contributions(codes, weights, out):
    """Write what each token adds to its row's logit to `out`, float64 ``(n_rows, n_tokens)``."""
    n_rows, n_tokens = codes.shape
    for i in range(n_rows):
        for j in range(n_tokens):
            code = codes[i, j]
            negative = code >> 31
            out[i, j] = weights[np.uint32(code ^ negative)] * ((negative | 1) * 1.0)


@njit(cache=True, nogil=True, error_model="numpy")
def predict_row(codes, weights, intercept):
    """Return the click probability of one row, codes ``(n_tokens,)``; the same sum as a batch's."""
    logit = 0.0
    for j in range(codes.size):
        code = codes[j]
        negative = code >> 31
        logit += weights[np.uint32(code ^ negative)] * ((negative | 1) * 1.0)
    logit += intercept
    tail = math.exp(-abs(logit))
    return (1.0 if logit >= 0 else tail) / (1.0 + tail)


class Kernels(NamedTuple):
    """The scoring functions of a kind of model: each takes codes and the model's arrays and intercept in order."""

    decision: Any
    contributions: Any
    predict_row: Any


LINEAR = Kernels(decision_codes, contributions, predict_row)
