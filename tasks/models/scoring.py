"""Codes to click probabilities with a vector of weights: what training, evaluation and service share.

Conventions: codes are int32 ``(n_rows, n_tokens)``, the index of a weight where the sign is +1 and
its bitwise complement where it is -1, or NO_TOKEN where a row has no token in that column; weights are ``(n_features,)``; a logit is the sum of a row's
signed weights and the intercept, added up in float64 from the first token to the last, so that one
row and a batch give the same bits.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from tasks.errors import ContractError, InputError
from tasks.hashing.codes import NO_TOKEN


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
        known = array[array != NO_TOKEN]
        if known.size and not -n_features <= known.min() <= known.max() < n_features:
            raise ContractError(
                f"codes name the weights {known.min()} to {known.max()}, but the model has {n_features:,}; "
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
            if code == NO_TOKEN:
                continue
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
            if code == NO_TOKEN:
                out[i, j] = 0.0
                continue
            negative = code >> 31
            out[i, j] = weights[np.uint32(code ^ negative)] * ((negative | 1) * 1.0)


@njit(cache=True, nogil=True, error_model="numpy")
def predict_row(codes, weights, intercept):
    """Return the click probability of one row, codes ``(n_tokens,)``; the same sum as a batch's."""
    logit = 0.0
    for j in range(codes.size):
        code = codes[j]
        if code == NO_TOKEN:
            continue
        negative = code >> 31
        logit += weights[np.uint32(code ^ negative)] * ((negative | 1) * 1.0)
    logit += intercept
    tail = math.exp(-abs(logit))
    return (1.0 if logit >= 0 else tail) / (1.0 + tail)


class Scorer(NamedTuple):
    """What scores hashed rows with a saved model; for many threads.

    Attributes
    ----------
    decision
        ``decision(codes, *inputs, out)`` writes the logit of each row to `out`, float64 ``(n_rows,)``.
    predict_row
        ``predict_row(codes, *inputs)`` returns the click probability of one row, codes ``(n_tokens,)``.
    inputs
        What both take besides codes.
    contributions
        ``contributions(codes, out)`` writes what each token adds to the logit; None where that has no meaning.
    weights
        float32 ``(n_features,)``, 0 where nothing was learned about a token; None for a model that has none.
    """

    decision: Any
    predict_row: Any
    inputs: tuple[Any, ...] = ()
    contributions: Any = None
    weights: np.ndarray | None = None


def linear_scorer(parts: Mapping[str, np.ndarray], intercept: float, contract: Any) -> Scorer:
    """Return the scorer of a vector of weights; ContractError unless it fits the contract."""
    weights = checked_weights_of(parts, contract, names=("weights",))[0]
    return Scorer(
        decision_codes,
        predict_row,
        (weights, intercept),
        lambda codes, out: contributions(codes, weights, out),
        weights,
    )


def checked_weights_of(
    parts: Mapping[str, np.ndarray], contract: Any, *, names: tuple[str, ...]
) -> list[np.ndarray]:
    """Return the arrays of these names; an error unless there are exactly those, and one weight per feature.

    Raises
    ------
    InputError
        If one is missing, or there is another.
    ContractError
        If the weights are not float32 of the contract's size; kernels do not check.
    """
    if tuple(parts) != names:
        raise InputError(
            f"the model needs the arrays {', '.join(names)}, found {', '.join(parts) or 'none'}; train it again"
        )
    weights = parts["weights"]
    if weights.shape != (contract.n_features,) or weights.dtype != np.float32:
        raise ContractError(
            f"weights must be float32 of shape ({contract.n_features},) for a contract of {contract.bits} bits, "
            f"found {weights.dtype} {weights.shape}"
        )
    return [parts[name] for name in names]
