"""The inner loops of the factorization machine, for codes and for sparse matrices.

``state`` is that of :mod:`tasks.models.kernels.ftrl`, and the linear part learns as it does there.
``factors`` is float32 ``(n_features, 2, n_factors)``: a token's factors and, beside them, the sums of
their squared gradients, so that 4 factors are half a cache line. A sum stops growing in float32 after
some ten million rows; that only ends the fall of its learning rate.

Factors are all 0 until a token has shown enough evidence (n above `min_evidence`), so a closed token
does not read its factors: no pair term, no gradient, and memory that is never touched. When it
opens they are drawn from (seed, index, factor), independent of the rows before.

All tokens of a row see the state from before the row. Open tokens are packed side by side, and
``lanes`` is a tuple of as many numbers as there are factors: its length is known when a kernel is
compiled, so that loops over factors vanish. Both together halve the time.
"""

import math

import numpy as np
from numba import njit

from tasks.hashing.codes import NO_TOKEN
from tasks.models.kernels.ftrl import _bias_weight, _residual, _step_bias
from tasks.models.kernels.splitmix import GOLDEN_GAMMA, mix64_compiled


@njit(cache=True, nogil=True, error_model="numpy")
def first_factor(seed, index, factor):
    """Return a number in [-1, 1) that depends on nothing but its arguments: SplitMix64 of all three."""
    word = np.uint64(seed) * GOLDEN_GAMMA + np.uint64(index)
    word = word * np.uint64(0xD1342543DE82EF95) + np.uint64(factor)
    word = mix64_compiled(word + GOLDEN_GAMMA)
    return (word >> np.uint64(11)) * 2.0**-52 - 1.0


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _learn_row(
    index, value, label, row_weight, state, factors, linear, opened, vectors, lanes,
    alpha, beta, l1, l2, use_bias, rate, smooth, decay, scale, min_evidence, seed,
):  # fmt: skip
    """Learn one row, tokens `index` with their values; return its weighted log loss from before.

    `linear`, `opened` and `vectors` are room to work in: see :func:`_room`.
    """
    n_tokens, per_alpha, n_open = index.size, 1.0 / alpha, 0
    z, n, root, weight = linear
    at, at_value = opened
    vector, part, squares, sums, own, loss = vectors
    for j in range(n_tokens):
        z[j] = state[index[j], 0]
        n[j] = state[index[j], 1]
    for j in range(n_tokens):
        root[j] = math.sqrt(n[j])
        weight[j] = (min(max(z[j], -l1), l1) - z[j]) / ((beta + root[j]) * per_alpha + l2)
    logit = 0.0
    for j in range(n_tokens):
        logit += weight[j] * value[j]
        at[n_open], at_value[n_open] = index[j], value[j]
        n_open += n[j] > min_evidence
    for a in range(len(lanes)):
        sums[a], own[a] = 0.0, 0.0
    for q in range(n_open):
        for a in range(len(lanes)):
            vector[q, a] = factors[at[q], 0, a]
            squares[q, a] = factors[at[q], 1, a]
            part[q, a] = vector[q, a] * at_value[q]
            sums[a] += part[q, a]
            own[a] += part[q, a] * part[q, a]
    pairs = 0.0
    for a in range(len(lanes)):
        pairs += sums[a] * sums[a] - own[a]
    logit += 0.5 * pairs
    if use_bias:
        logit += _bias_weight(state, alpha, beta)
    loss[0] = 0.0
    residual = _residual(logit, label, loss) * row_weight
    if row_weight == 0.0:
        n_open = 0  # a row of weight 0 is no row, not even for the decay
    for q in range(n_open):
        for a in range(len(lanes)):
            slope = residual * at_value[q] * (sums[a] - part[q, a]) + decay * vector[q, a]
            part[q, a] = rate * slope / (smooth + math.sqrt(squares[q, a] + slope * slope))
            squares[q, a] = slope * slope
    for q in range(n_open):
        for a in range(len(lanes)):
            factors[at[q], 0, a] -= part[q, a]
            factors[at[q], 1, a] += squares[q, a]
    for j in range(n_tokens):
        gradient = residual * value[j]
        square = gradient * gradient
        z[j] = gradient - (math.sqrt(n[j] + square) - root[j]) * per_alpha * weight[j]
        root[j] = square
    for j in range(n_tokens):
        before = state[index[j], 1]
        state[index[j], 0] += z[j]
        state[index[j], 1] = before + root[j]
        if before <= min_evidence < before + root[j]:
            for a in range(len(lanes)):
                factors[index[j], 0, a] = scale * first_factor(seed, index[j], a)
    if use_bias:
        _step_bias(state, residual, alpha, beta)
    return loss[0] * row_weight


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _room(width, lanes):
    """Return room for rows of up to `width` tokens: linear part, open tokens, their vectors."""
    size = len(lanes)
    linear = (np.empty(width), np.empty(width), np.empty(width), np.empty(width))
    opened = (np.empty(width + 1, np.uint32), np.empty(width + 1))
    table = (np.empty((width, size)), np.empty((width, size)), np.empty((width, size)))
    return linear, opened, (*table, np.empty(size), np.empty(size), np.empty(1))


@njit(cache=True, nogil=True, error_model="numpy")
def learn_codes(
    codes, labels, row_weights, state, factors,
    alpha, beta, l1, l2, use_bias, rate, smooth, decay, scale, min_evidence, seed, lanes,
):  # fmt: skip
    """Learn from rows in order; return the sum of their weighted log losses, each before it was learned."""
    n_rows, n_tokens = codes.shape
    index, value = np.empty(n_tokens, np.uint32), np.empty(n_tokens)
    linear, opened, vectors = _room(n_tokens, lanes)
    total = 0.0
    for i in range(n_rows):
        n_here = 0
        for j in range(n_tokens):
            if codes[i, j] == NO_TOKEN:
                continue
            negative = codes[i, j] >> 31
            index[n_here] = codes[i, j] ^ negative
            value[n_here] = negative | 1
            n_here += 1
        total += _learn_row(
            index[:n_here], value[:n_here], labels[i], row_weights[i % row_weights.size], state, factors,
            linear, opened, vectors, lanes,
            alpha, beta, l1, l2, use_bias, rate, smooth, decay, scale, min_evidence, seed,
        )  # fmt: skip
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def learn_csr(
    indptr, indices, data, labels, row_weights, state, factors,
    alpha, beta, l1, l2, use_bias, rate, smooth, decay, scale, min_evidence, seed, lanes,
):  # fmt: skip
    """Do for the rows of a CSR matrix what :func:`learn_codes` does for codes."""
    width, total = 0, 0.0
    for i in range(indptr.size - 1):
        width = max(width, indptr[i + 1] - indptr[i])
    index, value = np.empty(width, np.uint32), np.empty(width)
    linear, opened, vectors = _room(width, lanes)
    for i in range(indptr.size - 1):
        begin, size = indptr[i], indptr[i + 1] - indptr[i]
        for j in range(size):
            index[j] = indices[begin + j]
            value[j] = data[begin + j]
        total += _learn_row(
            index[:size], value[:size], labels[i], row_weights[i % row_weights.size], state, factors,
            linear, opened, vectors, lanes,
            alpha, beta, l1, l2, use_bias, rate, smooth, decay, scale, min_evidence, seed,
        )  # fmt: skip
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def decision_state(codes, state, factors, alpha, beta, l1, l2, use_bias, lanes, out):
    """Write the logit of each row to `out`, weights computed as they are met."""
    n_rows, n_tokens = codes.shape
    sums, own = np.empty(len(lanes)), np.empty(len(lanes))
    per_alpha = 1.0 / alpha
    for i in range(n_rows):
        logit = 0.0
        for a in range(len(lanes)):
            sums[a], own[a] = 0.0, 0.0
        for j in range(n_tokens):
            if codes[i, j] == NO_TOKEN:
                continue
            negative = codes[i, j] >> 31
            at, sign = np.uint32(codes[i, j] ^ negative), (negative | 1) * 1.0
            z = state[at, 0]
            scale = (beta + math.sqrt(state[at, 1])) * per_alpha + l2
            logit += (min(max(z, -l1), l1) - z) / scale * sign
            for a in range(len(lanes)):
                part = sign * factors[at, 0, a]
                sums[a] += part
                own[a] += part * part
        pairs = 0.0
        for a in range(len(lanes)):
            pairs += sums[a] * sums[a] - own[a]
        logit += 0.5 * pairs
        if use_bias:
            logit += _bias_weight(state, alpha, beta)
        out[i] = logit
