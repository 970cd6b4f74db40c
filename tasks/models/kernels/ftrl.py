"""The inner loops of FTRL-proximal, for codes and for sparse matrices.

``state`` is float64 ``(n_features + 1, 2)``: z and n of each weight side by side (one cache line
serves both), the intercept's last. float64 because n is a sum over all rows a token was ever in:
in float32 it stops growing at a few million rows (measured: 8% short after 43 million) and is no
faster.

All tokens of a row see the state from before the row. Loops are cut so that no branch depends on a
sign or on z, which are unpredictable: five times faster than the pseudo-code as printed.
"""

import math

import numpy as np
from numba import njit

from tasks.hashing.codes import NO_TOKEN
from tasks.models.kernels.prefetch import prefetch_ahead


@njit(cache=True, nogil=True, error_model="numpy")
def _bias_weight(state, alpha, beta):
    """Return the intercept: a weight without penalties."""
    return -state[-1, 0] / ((beta + math.sqrt(state[-1, 1])) / alpha)


@njit(cache=True, nogil=True, error_model="numpy")
def _residual(logit, label, loss):
    """Return p - y, and add the row's log loss, computed without overflow, to ``loss[0]``."""
    tail = math.exp(-abs(logit))
    loss[0] += math.log1p(tail) + max(logit, 0.0) - label * logit
    return (1.0 if logit >= 0 else tail) / (1.0 + tail) - label


@njit(cache=True, nogil=True, error_model="numpy")
def _step_bias(state, gradient, alpha, beta):
    """Move the intercept's z and n."""
    weight = _bias_weight(state, alpha, beta)
    n_new = state[-1, 1] + gradient * gradient
    state[-1, 0] += gradient - (math.sqrt(n_new) - math.sqrt(state[-1, 1])) / alpha * weight
    state[-1, 1] = n_new


@njit(cache=True, nogil=True, error_model="numpy")
def learn_codes(codes, labels, row_weights, state, alpha, beta, l1, l2, use_bias):
    """Learn from rows in order; return the sum of their weighted log losses, each before it was learned."""
    n_rows, n_tokens = codes.shape
    index = np.empty(n_tokens, np.uint32)
    sign, z, n, root, weight = np.empty((5, n_tokens))
    per_alpha, total = 1.0 / alpha, 0.0
    loss = np.zeros(1)
    for i in range(n_rows):
        prefetch_ahead(codes, i, state)
        n_here = 0
        for j in range(n_tokens):
            code = codes[i, j]
            if code == NO_TOKEN:
                continue
            negative = code >> 31
            index[n_here] = code ^ negative
            sign[n_here] = negative | 1
            z[n_here] = state[index[n_here], 0]
            n[n_here] = state[index[n_here], 1]
            n_here += 1
        for j in range(n_here):
            root[j] = math.sqrt(n[j])
            weight[j] = (min(max(z[j], -l1), l1) - z[j]) / ((beta + root[j]) * per_alpha + l2)
        logit = 0.0
        for j in range(n_here):
            logit += weight[j] * sign[j]
        if use_bias:
            logit += _bias_weight(state, alpha, beta)
        loss[0] = 0.0
        gradient = _residual(logit, labels[i], loss) * row_weights[i % row_weights.size]
        total += loss[0] * row_weights[i % row_weights.size]
        square = gradient * gradient
        for j in range(n_here):
            z[j] = gradient * sign[j] - (math.sqrt(n[j] + square) - root[j]) * per_alpha * weight[j]
        for j in range(n_here):
            state[index[j], 0] += z[j]
            state[index[j], 1] += square
        if use_bias:
            _step_bias(state, gradient, alpha, beta)
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def learn_csr(indptr, indices, data, labels, row_weights, state, alpha, beta, l1, l2, use_bias):
    """Do for the rows of a CSR matrix what :func:`learn_codes` does for codes."""
    width = 0
    for i in range(indptr.size - 1):
        width = max(width, indptr[i + 1] - indptr[i])
    root, weight = np.empty((2, width))
    per_alpha, total = 1.0 / alpha, 0.0
    loss = np.zeros(1)
    for i in range(indptr.size - 1):
        begin, stop = indptr[i], indptr[i + 1]
        logit = 0.0
        for k in range(begin, stop):
            j, at = k - begin, np.uint32(indices[k])
            z = state[at, 0]
            root[j] = math.sqrt(state[at, 1])
            weight[j] = (min(max(z, -l1), l1) - z) / ((beta + root[j]) * per_alpha + l2)
            logit += weight[j] * data[k]
        if use_bias:
            logit += _bias_weight(state, alpha, beta)
        loss[0] = 0.0
        residual = _residual(logit, labels[i], loss) * row_weights[i % row_weights.size]
        total += loss[0] * row_weights[i % row_weights.size]
        for k in range(begin, stop):  # n first read above: an index that is there twice moves twice
            j, at = k - begin, np.uint32(indices[k])
            gradient = residual * data[k]
            square = gradient * gradient
            n_old = root[j] * root[j]
            state[at, 0] += gradient - (math.sqrt(n_old + square) - root[j]) * per_alpha * weight[j]
            state[at, 1] += square
        if use_bias:
            _step_bias(state, residual, alpha, beta)
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def all_weights(state, alpha, beta, l1, l2, out):
    """Write the weight of every feature (not the intercept) to `out`."""
    for i in range(out.size):
        z = state[i, 0]
        out[i] = (min(max(z, -l1), l1) - z) / ((beta + math.sqrt(state[i, 1])) / alpha + l2)


@njit(cache=True, nogil=True, error_model="numpy")
def decision_state(codes, state, alpha, beta, l1, l2, use_bias, out):
    """Write the logit of each row to `out`, weights computed as they are met."""
    n_rows, n_tokens = codes.shape
    per_alpha = 1.0 / alpha
    for i in range(n_rows):
        prefetch_ahead(codes, i, state)
        logit = 0.0
        for j in range(n_tokens):
            code = codes[i, j]
            if code == NO_TOKEN:
                continue
            negative = code >> 31
            at = np.uint32(code ^ negative)
            z = state[at, 0]
            weight = (min(max(z, -l1), l1) - z) / (
                (beta + math.sqrt(state[at, 1])) * per_alpha + l2
            )
            logit += weight * ((negative | 1) * 1.0)
        if use_bias:
            logit += _bias_weight(state, alpha, beta)
        out[i] = logit
