"""Codes to click probabilities with a weight per token and per pair of tokens, while training and saved.

Conventions are those of :mod:`tasks.models.scoring`; the weights of pairs are float32 ``(2**pair_bits,)``, and the sign
of a pair is the product of its tokens' signs. Each token's pairs with later tokens are added up apart, in the order of
the tokens, so that one row and a batch give the same bits.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit

from tasks.errors import ConfigError, ContractError
from tasks.hashing.codes import NO_TOKEN
from tasks.models.kernels.pairs import mixed, open_code
from tasks.models.scoring import Scorer, checked_weights_of

MAX_TOKENS = 64  # 2,016 pairs: some 10 us per row, 10 ms for a ranking of 1,000 candidates


def require_few_tokens(n_tokens: int) -> None:
    """Raise ConfigError if rows have more tokens than their pairs are learned of.

    Examples
    --------
    >>> require_few_tokens(211)
    Traceback (most recent call last):
    tasks.errors.ConfigError: ftrl_pairs: rows of 211 tokens have 22,155 pairs; at most 64 tokens (2,016 pairs) are \
learned: lower `max_items` of lists, drop fields, or choose ftrl or fm
    """
    if n_tokens > MAX_TOKENS:
        raise ConfigError(
            f"ftrl_pairs: rows of {n_tokens} tokens have {n_tokens * (n_tokens - 1) // 2:,} pairs; at most {MAX_TOKENS} "
            f"tokens ({MAX_TOKENS * (MAX_TOKENS - 1) // 2:,} pairs) are learned: lower `max_items` of lists, drop fields, "
            "or choose ftrl or fm"
        )


@njit(cache=True, nogil=True, error_model="numpy")
def _row_logit(mix, value, own, pair_weights, shift, intercept):
    """Return the logit of a row; `own` has the weights of its tokens, and what each adds to the logit when it returns."""
    logit = 0.0
    for a in range(value.size):
        logit += own[a] * value[a]
        own[a] *= value[a]
    for a in range(value.size):
        pairs = 0.0
        for b in range(a + 1, value.size):
            part = pair_weights[(mix[a] * mix[b]) >> shift] * (value[a] * value[b])
            pairs += part
            own[b] += 0.5 * part
        own[a] += 0.5 * pairs
        logit += pairs
    return logit + intercept


@njit(cache=True, nogil=True, error_model="numpy")
def _codes_logit(codes, weights, pair_weights, shift, intercept, room):
    """Return the logit of a row of codes; what its tokens add, in their order, is left in ``room[1]``."""
    mix, own, value = room
    n = 0
    for code in codes:
        if code == NO_TOKEN:
            continue
        index, value[n] = open_code(code)
        own[n], mix[n] = weights[index], mixed(index)
        n += 1
    return _row_logit(mix[:n], value[:n], own, pair_weights, shift, intercept)


@njit(cache=True, nogil=True, error_model="numpy")
def _room(n):
    return np.empty(n, np.uint64), np.empty(n), np.empty(n)


@njit(cache=True, nogil=True, error_model="numpy")
def decision_codes(codes, weights, pair_weights, shift, intercept, out):
    """Write the logit of each row to `out`."""
    room = _room(codes.shape[1])
    for i in range(codes.shape[0]):
        out[i] = _codes_logit(codes[i], weights, pair_weights, shift, intercept, room)


@njit(cache=True, nogil=True, error_model="numpy")
def decision_csr(indptr, indices, data, weights, pair_weights, shift, intercept, out):
    """Write the logit of each row of a CSR matrix to `out`."""
    for i in range(out.size):
        value, index = data[indptr[i] : indptr[i + 1]], indices[indptr[i] : indptr[i + 1]]
        mix, own, _ = _room(index.size)
        for j in range(index.size):
            own[j], mix[j] = weights[index[j]], mixed(index[j])
        out[i] = _row_logit(mix, value, own, pair_weights, shift, intercept)


@njit(cache=True, nogil=True, error_model="numpy")
def contributions(codes, weights, pair_weights, shift, out):
    """Write each token's weight and half of its pairs to `out`, float64 ``(n_rows, n_tokens)``."""
    room = _room(codes.shape[1])
    for i in range(codes.shape[0]):
        _codes_logit(codes[i], weights, pair_weights, shift, 0.0, room)
        n = 0
        for j in range(codes.shape[1]):
            is_token = codes[i, j] != NO_TOKEN
            out[i, j] = room[1][n] if is_token else 0.0
            n += is_token


@njit(cache=True, nogil=True, error_model="numpy")
def predict_row(codes, weights, pair_weights, shift, intercept):
    """Return the click probability of one row, codes ``(n_tokens,)``; the same sum as a batch's."""
    logit = _codes_logit(codes, weights, pair_weights, shift, intercept, _room(codes.size))
    tail = math.exp(-abs(logit))
    return (1.0 if logit >= 0 else tail) / (1.0 + tail)


def shift_of(pair_weights: np.ndarray) -> np.uint64:
    """Return by how many bits the product of two tokens is shifted to a bucket of these weights."""
    return np.uint64(65 - len(pair_weights).bit_length())


def hashed_pair_scorer(parts: Mapping[str, np.ndarray], intercept: float, contract: Any) -> Scorer:
    """Return the scorer of weights of tokens and pairs; ContractError unless they fit the contract."""
    weights, pairs = checked_weights_of(parts, contract, names=("weights", "pair_weights"))
    n_pairs = len(pairs)
    if pairs.ndim != 1 or pairs.dtype != np.float32 or n_pairs < 2 or n_pairs & (n_pairs - 1):
        raise ContractError(
            f"weights of pairs must be float32 of shape (2**pair_bits,), found {pairs.dtype} {pairs.shape}"
        )
    require_few_tokens(contract.n_tokens)
    inputs = (weights, pairs, shift_of(pairs))
    return Scorer(
        decision_codes,
        predict_row,
        (*inputs, intercept),
        lambda codes, out: contributions(codes, *inputs, out),
        weights,
    )
