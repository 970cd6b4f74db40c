"""Slow, obvious twins of the library's fast paths."""

import math

import numpy as np

# ---- hashing


def murmur3(data: bytes, seed: int = 0) -> int:
    """Return MurmurHash3_x86_32 of `data` as a signed number, written after Appleby's C++, line by line."""

    def rotated(word: int, bits: int) -> int:
        return (word << bits | word >> (32 - bits)) & 0xFFFFFFFF

    state = seed
    n_whole = len(data) // 4 * 4
    for at in range(0, n_whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * 0xCC9E2D51 & 0xFFFFFFFF
        state ^= rotated(word, 15) * 0x1B873593 & 0xFFFFFFFF
        state = (rotated(state, 13) * 5 + 0xE6546B64) & 0xFFFFFFFF
    if n_whole < len(data):
        word = int.from_bytes(data[n_whole:], "little") * 0xCC9E2D51 & 0xFFFFFFFF
        state ^= rotated(word, 15) * 0x1B873593 & 0xFFFFFFFF
    state ^= len(data)
    state = (state ^ state >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    state = (state ^ state >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    state ^= state >> 16
    return state - 2**32 if state >= 2**31 else state


def token_code(token: str, bits: int, seed: int = 0) -> int:
    """Return the code of one token: its bucket, inverted where the sign is -1."""
    hashed = murmur3(token.encode(), seed)
    bucket = abs(hashed) % 2**bits
    return bucket if hashed >= 0 else ~bucket


def row_tokens(texts: dict[str, str], crosses: list[list[str]]) -> list[str]:
    """Return the tokens of one row, from the text of each field and time feature."""
    tokens = [f"{name}={text}" for name, text in texts.items()]
    return tokens + [
        "*".join(cross) + "=" + "*".join(texts[name] for name in cross) for cross in crosses
    ]


# ---- models and metrics


def ftrl(rows, labels, *, n_features, alpha, beta, l1, l2, row_weights=None):
    """Return z, n and the summed losses after Algorithm 1 of McMahan et al. (2013) and a bias without penalties.

    A row is a list of (index, value); an index that occurs twice counts as two coordinates with one state.
    """
    z, n = [0.0] * (n_features + 1), [0.0] * (n_features + 1)
    total = 0.0
    for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
        weights = []
        for index, _ in row:
            sign = -1.0 if z[index] < 0 else 1.0
            if abs(z[index]) <= l1:
                weights.append(0.0)
            else:
                weights.append(-(z[index] - sign * l1) / ((beta + n[index] ** 0.5) / alpha + l2))
        bias = -z[-1] / ((beta + n[-1] ** 0.5) / alpha)
        logit = bias + sum(weight * value for weight, (_, value) in zip(weights, row, strict=True))
        p_click = 1 / (1 + math.exp(-logit))
        row_weight = 1.0 if row_weights is None else row_weights[number]
        total -= row_weight * math.log(p_click if label else 1 - p_click)
        before = list(n)
        for (index, value), weight in [*zip(row, weights, strict=True), ((n_features, 1.0), bias)]:
            gradient = row_weight * (p_click - label) * value
            sigma = ((before[index] + gradient**2) ** 0.5 - before[index] ** 0.5) / alpha
            z[index] += gradient - sigma * weight
            n[index] += gradient**2
    return z, n, total


def pair_bucket(i, j, bits):
    """Return the bucket of a pair of tokens: the upper bits of the product of their mixed, odd numbers."""
    product = (_splitmix(i) | 1) * (_splitmix(j) | 1) % 2**64
    return product >> (64 - bits)


def ftrl_pairs(
    rows, labels, *, n_features, alpha, beta, l1, l2, pair_alpha, pair_l1, pair_l2, pair_bits, row_weights=None,
    small=np.float32,
):  # fmt: skip
    """Return z and n of tokens and bias, z and n of pairs' buckets, and the summed losses.

    Each pair is written out as a feature of its own, whose numbers are of type `small`; all see the state before the row.
    """
    state = {"one": ([0.0] * (n_features + 1), [0.0] * (n_features + 1))}
    state["pair"] = ([small(0)] * 2**pair_bits, [small(0)] * 2**pair_bits)
    knobs = {"one": (1 / alpha, beta, l1, l2)}
    knobs["pair"] = tuple(map(small, (1 / pair_alpha, beta, pair_l1, pair_l2)))
    knobs["bias"] = (1 / alpha, beta, 0.0, 0.0)
    total = 0.0
    for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
        features = [("one", index, float(value)) for index, value in row]
        for first, (i, x) in enumerate(row):
            features += [
                ("pair", pair_bucket(i, j, pair_bits), small(x * y)) for j, y in row[first + 1 :]
            ]
        features.append(("bias", n_features, 1.0))
        before, logit = [], 0.0
        for group, index, value in features:
            z, n = (part[index] for part in state["pair" if group == "pair" else "one"])
            per_alpha, smooth, lasso, ridge = knobs[group]
            shrunk = min(max(z, -lasso), lasso) - z
            weight = shrunk / ((smooth + np.sqrt(n)) * per_alpha + ridge)
            before.append((n, weight))
            logit += float(weight * value)
        p_click = 1 / (1 + math.exp(-logit))
        row_weight = 1.0 if row_weights is None else row_weights[number]
        total -= row_weight * math.log(p_click if label else 1 - p_click)
        residual = (p_click - label) * row_weight
        for (group, index, value), (n, weight) in zip(features, before, strict=True):
            gradient = type(value)(residual) * value
            square = gradient * gradient
            sums = state["pair" if group == "pair" else "one"]
            sums[0][index] += (
                gradient - (np.sqrt(n + square) - np.sqrt(n)) * knobs[group][0] * weight
            )
            sums[1][index] += square
    return *state["one"], *state["pair"], total


def first_factor(seed, index, factor):
    """Return SplitMix64 of the three as a number in [-1, 1)."""
    word = ((seed * 0x9E3779B97F4A7C15 + index) * 0xD1342543DE82EF95 + factor) % 2**64
    return (_splitmix(word) >> 11) / 2**52 - 1


def _splitmix(word):
    word = (word + 0x9E3779B97F4A7C15) % 2**64
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
    return word ^ word >> 31


def fm_logit(row, weights, vectors, bias=0.0):
    """Return Rendle's (2010) equation 1, pair by pair; a row is a list of (index, value)."""
    logit = bias + sum(weights[index] * value for index, value in row)
    for first, (i, x) in enumerate(row):
        for j, y in row[first + 1 :]:
            logit += sum(a * b for a, b in zip(vectors[i], vectors[j], strict=True)) * x * y
    return logit


def fm(
    rows, labels, *, n_features, alpha, beta, l1, l2, n_factors, factor_alpha, factor_beta, factor_l2,
    factor_init, min_evidence, random_state=0, row_weights=None,
):  # fmt: skip
    """Return z, n, vectors, their squares and the summed losses: FTRL for the weights, AdaGrad for vectors.

    All tokens of a row see the state before the row; a vector is drawn when n first exceeds `min_evidence`.
    """
    z, n = [0.0] * (n_features + 1), [0.0] * (n_features + 1)
    vectors, squares = ([[0.0] * n_factors for _ in range(n_features)] for _ in range(2))
    total = 0.0
    for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
        row_weight = 1.0 if row_weights is None else row_weights[number]
        if row_weight == 0:
            continue
        weights = [0.0] * n_features
        for index, _ in row:
            if abs(z[index]) > l1:
                excess = z[index] - math.copysign(l1, z[index])
                weights[index] = -excess / ((beta + n[index] ** 0.5) / alpha + l2)
        bias = -z[-1] / ((beta + n[-1] ** 0.5) / alpha)
        logit = fm_logit(row, weights, vectors, bias)
        p_click = 1 / (1 + math.exp(-logit))
        total -= row_weight * math.log(p_click if label else 1 - p_click)
        residual = row_weight * (p_click - label)
        n_before, vectors_before = list(n), [list(vector) for vector in vectors]
        squares_before = [list(square) for square in squares]
        sums = [sum(vectors[index][a] * value for index, value in row) for a in range(n_factors)]
        for index, value in row:
            if n_before[index] <= min_evidence:
                continue
            for a in range(n_factors):
                own = vectors_before[index][a]
                slope = residual * value * (sums[a] - own * value) + factor_l2 * own
                rate = factor_alpha / (factor_beta + (squares_before[index][a] + slope**2) ** 0.5)
                vectors[index][a] -= rate * slope
                squares[index][a] += slope**2
        for index, value in [*row, (n_features, 1.0)]:
            gradient = residual * value
            weight = bias if index == n_features else weights[index]
            sigma = ((n_before[index] + gradient**2) ** 0.5 - n_before[index] ** 0.5) / alpha
            z[index] += gradient - sigma * weight
            opens = n[index] <= min_evidence < n[index] + gradient**2
            n[index] += gradient**2
            if opens and index < n_features:
                vectors[index] = [
                    factor_init * first_factor(random_state, index, a) for a in range(n_factors)
                ]
    return z, n, vectors, squares, total


def auc(y_true, p_click):
    """Return the share of (clicked, other) pairs in which the clicked one ranks higher; ties count one half."""
    clicked = [p for y, p in zip(y_true, p_click, strict=True) if y == 1]
    others = [p for y, p in zip(y_true, p_click, strict=True) if y == 0]
    above = sum((p > q) + 0.5 * (p == q) for p in clicked for q in others)
    return above / (len(clicked) * len(others))
