"""The inner loops of FTRL-proximal over single tokens and all pairs of a row's tokens.

``state`` is that of :mod:`tasks.models.kernels.ftrl`; ``pairs`` is float64 ``(2**pair_bits, 2)``, z and n of each
pair's bucket. The value of a pair is the product of its tokens' values, so it has the product of their signs.

A token is mixed once per row to an odd number of 64 bits; the bucket of a pair is the upper bits of the product of
two of them. So a pair is the same in either order, costs one multiplication, and two tokens whose pairs with a third
share a bucket do not share those with a fourth.

A row of 23 tokens has 253 pairs at random places of a table larger than the caches: the buckets of the next row are
computed and prefetched before a row is learned. All tokens and pairs of a row see the state from before the row.
"""

import math

import numpy as np
from numba import njit

from tasks.hashing.codes import NO_TOKEN
from tasks.models.kernels.ftrl import _bias_weight, _residual, _step_bias
from tasks.models.kernels.prefetch import prefetch_row
from tasks.models.kernels.splitmix import GOLDEN_GAMMA, mix64_compiled


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def mixed(index):
    """Return a token's bucket as an odd number of 64 mixed bits."""
    return mix64_compiled(np.uint64(index) + GOLDEN_GAMMA) | np.uint64(1)


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def open_code(code):
    """Return bucket and sign of a code that is a token."""
    negative = code >> 31
    return np.uint32(code ^ negative), (negative | 1) * 1.0


@njit(cache=True, nogil=True, error_model="numpy")
def place_pairs(mix, value, shift, at, pair_value):
    """Write bucket and value of every pair to `at` and `pair_value`, first tokens first; return how many there are."""
    k = np.uint64(0)  # unsigned, or every place is checked for a sign, and no loop is vectorized
    for a in range(mix.size - 1):
        left, first = np.uint64(mix.size - a - 1), np.uint64(a + 1)
        own_mix, own_value = mix[a], value[a]
        for step in range(left):
            b = np.uint64(step)
            at[k + b] = (own_mix * mix[first + b]) >> shift
            pair_value[k + b] = own_value * value[first + b]
        k += left
    return np.int64(k)


@njit(cache=True, nogil=True, error_model="numpy")
def prefetch_all(table, at):
    """Prefetch all these rows of a table."""
    for k in range(np.uint64(at.size)):
        prefetch_row(table, at[k])  # type: ignore[call-arg]


@njit(cache=True, nogil=True, error_model="numpy")
def _gather(at, state, z, n):
    """Write z and n of every bucket."""
    for k in range(np.uint64(at.size)):
        z[k] = state[at[k], 0]
        n[k] = state[at[k], 1]


@njit(cache=True, nogil=True, error_model="numpy")
def _weigh(z, n, root, weight, per_alpha, beta, l1, l2):
    """Write the root of n and the weight of every bucket."""
    for k in range(np.uint64(z.size)):
        root[k] = math.sqrt(n[k])
        weight[k] = (min(max(z[k], -l1), l1) - z[k]) / ((beta + root[k]) * per_alpha + l2)


@njit(cache=True, nogil=True, error_model="numpy")
def _dot(weight, value):
    """Return the sum of products, added up in four sums: one alone would wait for itself."""
    one, two, three, four = 0.0, 0.0, 0.0, 0.0
    whole = np.uint64(value.size // 4 * 4)
    for k in range(np.uint64(0), whole, np.uint64(4)):
        one += weight[k] * value[k]
        two += weight[k + np.uint64(1)] * value[k + np.uint64(1)]
        three += weight[k + np.uint64(2)] * value[k + np.uint64(2)]
        four += weight[k + np.uint64(3)] * value[k + np.uint64(3)]
    for k in range(whole, np.uint64(value.size)):
        one += weight[k] * value[k]
    return (one + two) + (three + four)


@njit(cache=True, nogil=True, error_model="numpy")
def _steps(z, n, root, weight, value, residual, per_alpha):
    """Replace z and n by what a row adds to them."""
    for k in range(np.uint64(value.size)):
        gradient = residual * value[k]
        square = gradient * gradient
        z[k] = gradient - (math.sqrt(n[k] + square) - root[k]) * per_alpha * weight[k]
        n[k] = square


@njit(cache=True, nogil=True, error_model="numpy")
def _add(at, state, z, n):
    """Add to z and n of every bucket."""
    for k in range(np.uint64(at.size)):
        state[at[k], 0] += z[k]
        state[at[k], 1] += n[k]


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _learn_row(index, value, at, pair_value, coming, label, row_weight, state, pairs, knobs, rooms):
    """Learn one row; return its weighted log loss from before. Buckets `coming` are prefetched between its stages."""
    alpha, beta, use_bias, single, pair = knobs
    (z, n, root, weight), (pair_z, pair_n, pair_root, pair_weight), loss = rooms
    third = coming.size // 3
    _gather(at, pairs, pair_z, pair_n)
    prefetch_all(pairs, coming[:third])
    _gather(index, state, z, n)
    _weigh(z[: index.size], n, root, weight, *single)
    _weigh(pair_z[: at.size], pair_n, pair_root, pair_weight, *pair)
    prefetch_all(pairs, coming[third : 2 * third])
    logit = _dot(weight, value) + _dot(pair_weight, pair_value)
    if use_bias:
        logit += _bias_weight(state, alpha, beta)
    loss[0] = 0.0
    residual = _residual(logit, label, loss) * row_weight
    prefetch_all(pairs, coming[2 * third :])
    _steps(z, n, root, weight, value, residual, single[0])
    _steps(pair_z, pair_n, pair_root, pair_weight, pair_value, np.float32(residual), pair[0])
    _add(index, state, z, n)
    _add(at, pairs, pair_z, pair_n)
    if use_bias:
        _step_bias(state, residual, alpha, beta)
    return loss[0] * row_weight


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _room(n, kind):
    """Return room for z, n, its root and the weights of `n` buckets."""
    return np.empty(n, kind), np.empty(n, kind), np.empty(n, kind), np.empty(n, kind)


@njit(cache=True, nogil=True, error_model="numpy")
def learn_codes(
    codes, labels, row_weights, state, pairs,
    alpha, beta, l1, l2, use_bias, pair_alpha, pair_l1, pair_l2, bits,
):  # fmt: skip
    """Learn from rows in order; return the sum of their weighted log losses, each before it was learned."""
    n_rows, width = codes.shape
    most, shift, total = width * (width - 1) // 2, np.uint64(64 - bits), 0.0
    index, value = np.empty((2, width), np.uint32), np.empty((2, width))
    at, pair_value = np.empty((2, most), np.uint32), np.empty((2, most), np.float32)
    mix, sizes = np.empty(width, np.uint64), np.zeros((2, 2), np.int64)
    rooms = (_room(width, np.float64), _room(most, np.float32), np.zeros(1))
    single = (1 / alpha, beta, l1, l2)
    pair = (np.float32(1 / pair_alpha), np.float32(beta), np.float32(pair_l1), np.float32(pair_l2))
    knobs = (alpha, beta, use_bias, single, pair)
    for i in range(-1, n_rows):
        if i + 1 < n_rows:
            side, n = (i + 1) & 1, 0
            for j in range(width):
                if codes[i + 1, j] == NO_TOKEN:
                    continue
                index[side, n], value[side, n] = open_code(codes[i + 1, j])
                mix[n] = mixed(index[side, n])
                prefetch_row(state, index[side, n])  # type: ignore[call-arg]
                n += 1
            n_pairs = place_pairs(mix[:n], value[side], shift, at[side], pair_value[side])
            sizes[side, 0], sizes[side, 1] = n, n_pairs
        if i >= 0:
            side, (n, n_pairs) = i & 1, sizes[i & 1]
            coming = at[1 - side, : sizes[1 - side, 1]]
            total += _learn_row(
                index[side, :n], value[side, :n], at[side, :n_pairs], pair_value[side, :n_pairs], coming,
                labels[i], row_weights[i % row_weights.size], state, pairs, knobs, rooms,
            )  # fmt: skip
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def learn_csr(
    indptr, indices, data, labels, row_weights, state, pairs,
    alpha, beta, l1, l2, use_bias, pair_alpha, pair_l1, pair_l2, bits,
):  # fmt: skip
    """Do for the rows of a CSR matrix what :func:`learn_codes` does for codes."""
    width, total, shift = 0, 0.0, np.uint64(64 - bits)
    for i in range(indptr.size - 1):
        width = max(width, indptr[i + 1] - indptr[i])
    most = width * (width - 1) // 2
    index, mix = np.empty(width, np.uint32), np.empty(width, np.uint64)
    at, pair_value = np.empty(most, np.uint32), np.empty(most, np.float32)
    rooms = (_room(width, np.float64), _room(most, np.float32), np.zeros(1))
    single = (1 / alpha, beta, l1, l2)
    pair = (np.float32(1 / pair_alpha), np.float32(beta), np.float32(pair_l1), np.float32(pair_l2))
    knobs = (alpha, beta, use_bias, single, pair)
    for i in range(indptr.size - 1):
        begin, n = indptr[i], indptr[i + 1] - indptr[i]
        for j in range(n):
            index[j] = indices[begin + j]
            mix[j] = mixed(index[j])
        value = data[begin : begin + n]
        n_pairs = place_pairs(mix[:n], value, shift, at, pair_value)
        total += _learn_row(
            index[:n], value, at[:n_pairs], pair_value[:n_pairs], at[:0],
            labels[i], row_weights[i % row_weights.size], state, pairs, knobs, rooms,
        )  # fmt: skip
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def pair_weights(pairs, alpha, beta, l1, l2, out):
    """Write the weight of every pair's bucket to `out`."""
    _weigh(
        pairs[:, 0], pairs[:, 1], np.empty(len(pairs), np.float32), out,
        np.float32(1 / alpha), np.float32(beta), np.float32(l1), np.float32(l2),
    )  # fmt: skip
