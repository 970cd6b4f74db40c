"""Codes to click probabilities with weights and vectors: a factorization machine, while training and saved.

Conventions are those of :mod:`tasks.models.scoring`; vectors are float32 ``(n_features, n_factors)``,
and a token's sign is the sign of its vector too. One sum serves a row, a batch and the parts of a
logit: the products of all pairs are half of (sum of vectors)^2 - sum of (vectors^2), for each factor
(Rendle 2010, equation 5), so the cost grows with the tokens, not with their pairs.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit

from tasks.errors import ContractError
from tasks.hashing.codes import NO_TOKEN
from tasks.models.scoring import Scorer, checked_weights_of


@njit(cache=True, nogil=True, error_model="numpy")
def _row_logit(codes, weights, latent, intercept, sums):
    """Return the logit of one row; leave the sum of its vectors in `sums`."""
    n_factors = latent.shape[1]
    for a in range(n_factors):
        sums[a] = 0.0
    logit, squares = 0.0, 0.0
    for j in range(codes.size):
        code = codes[j]
        if code == NO_TOKEN:
            continue
        negative = code >> 31
        at, sign = np.uint32(code ^ negative), (negative | 1) * 1.0
        logit += weights[at] * sign
        for a in range(n_factors):
            part = latent[at, a] * sign
            sums[a] += part
            squares += part * part
    pairs = 0.0
    for a in range(n_factors):
        pairs += sums[a] * sums[a]
    return logit + 0.5 * (pairs - squares) + intercept


@njit(cache=True, nogil=True, error_model="numpy")
def decision_codes(codes, weights, latent, intercept, out):
    """Write the logit of each row to `out`."""
    sums = np.empty(latent.shape[1])
    for i in range(codes.shape[0]):
        out[i] = _row_logit(codes[i], weights, latent, intercept, sums)


@njit(cache=True, nogil=True, error_model="numpy")
def contributions(codes, weights, latent, out):
    """Write each token's weight and half of its pairs to `out`, float64 ``(n_rows, n_tokens)``."""
    n_rows, n_tokens = codes.shape
    sums = np.empty(latent.shape[1])
    for i in range(n_rows):
        _row_logit(codes[i], weights, latent, 0.0, sums)
        for j in range(n_tokens):
            code = codes[i, j]
            if code == NO_TOKEN:
                out[i, j] = 0.0
                continue
            negative = code >> 31
            at, sign = np.uint32(code ^ negative), (negative | 1) * 1.0
            pairs = 0.0
            for a in range(sums.size):
                part = latent[at, a] * sign
                pairs += part * (sums[a] - part)
            out[i, j] = weights[at] * sign + 0.5 * pairs


@njit(cache=True, nogil=True, error_model="numpy")
def predict_row(codes, weights, latent, intercept):
    """Return the click probability of one row, codes ``(n_tokens,)``; the same sum as a batch's."""
    logit = _row_logit(codes, weights, latent, intercept, np.empty(latent.shape[1]))
    tail = math.exp(-abs(logit))
    return (1.0 if logit >= 0 else tail) / (1.0 + tail)


def pair_scorer(parts: Mapping[str, np.ndarray], intercept: float, contract: Any) -> Scorer:
    """Return the scorer of weights and vectors; ContractError unless they fit the contract."""
    weights, latent = checked_weights_of(parts, contract, names=("weights", "latent"))
    if latent.ndim != 2 or len(latent) != len(weights) or latent.dtype != np.float32:
        raise ContractError(
            f"vectors must be float32 of shape ({contract.n_features}, n_factors), "
            f"found {latent.dtype} {latent.shape}"
        )
    return Scorer(
        decision_codes,
        predict_row,
        (weights, latent, intercept),
        lambda codes, out: contributions(codes, weights, latent, out),
        weights,
    )
