"""A field-aware factorization machine, learned row by row by AdaGrad, as in the paper's Algorithm 1.

References
----------
Juan et al. (2016), "Field-aware factorization machines for CTR prediction", equation 4 and Algorithm 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from bench.quality.choice import Fitted, Setting, best_pass, grid, timed
from bench.quality.rows import Fold, Part
from tasks.evaluation.metrics import log_loss
from tasks.models.scoring import sigmoid

MAX_EPOCHS, N_FACTORS, SEED = 8, 4, 7


@dataclass(frozen=True)
class FieldAware:
    """Each value has a vector for each other field; linear terms and a bias besides. Crosses are left out: it has pairs."""

    key: str = "ffm"
    label: str = "FFM (own, Numba)"
    settings: Sequence[Setting] = grid(eta=[0.02, 0.05, 0.1], lam=[2e-5, 2e-4])
    ours: bool = False

    def trial(self, setting: Setting, fold: Fold) -> tuple[float, int]:
        """Return validation log loss and epoch of the best epoch, the first after which the loss rises."""
        machine, losses = Machine(_sizes(fold), **setting), []
        for _ in range(MAX_EPOCHS):
            machine.learn(fold.train.columns, fold.train.label)
            losses.append(log_loss(fold.valid.label, machine.predict(fold.valid.columns)))
            if losses[-1] > min(losses):
                break
        return best_pass(losses)

    def fit(self, setting: Setting, n_passes: int, rows: Part, fold: Fold) -> Fitted:
        """Return the model after that many epochs, from the array in memory."""

        def learn() -> Machine:
            machine = Machine(_sizes(fold), **setting)
            for _ in range(n_passes):
                machine.learn(rows.columns, rows.label)
            return machine

        machine, cpu_s = timed(learn)
        return Fitted(lambda part: machine.predict(part.columns), cpu_s)


class Machine:
    """Vectors and linear weights with their sums of squared gradients; columns beyond `sizes` are not read."""

    def __init__(self, sizes: Sequence[int], *, eta: float, lam: float, n_factors: int = N_FACTORS):
        self._starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        n_values, n_fields = int(np.sum(sizes)), len(sizes)
        rng = np.random.default_rng(SEED)
        scale = np.float32(0.5 / np.sqrt(n_factors))
        self.vectors = rng.random((n_values, n_fields, n_factors), dtype=np.float32) * scale
        self.vector_squares = np.ones_like(self.vectors)
        self.weights = np.zeros((n_values + 1, 2))  # weight and sum of squares; the bias last
        self.weights[:, 1] = 1.0
        self._knobs = (float(eta), float(lam))

    def learn(self, columns: np.ndarray, label: np.ndarray) -> None:
        """Learn rows once, in order."""
        _learn(self._places(columns), label.astype(np.float64), self.vectors, self.vector_squares, self.weights, *self._knobs)  # fmt: skip

    def predict(self, columns: np.ndarray) -> np.ndarray:
        """Return click probabilities."""
        return sigmoid(_logits(self._places(columns), self.vectors, self.weights))

    def _places(self, columns: np.ndarray) -> np.ndarray:
        return columns[:, : len(self._starts)] + self._starts


def _sizes(fold: Fold) -> Any:
    parts = (fold.train, fold.valid, fold.test)
    return (np.maximum.reduce([part.columns.max(axis=0) for part in parts]) + 1)[: fold.n_fields]


@numba.njit(cache=True, fastmath=True)
def _logit(row, vectors, weights):  # type: ignore[no-untyped-def]
    n_fields, n_factors = vectors.shape[1], vectors.shape[2]
    norm = np.float32(1.0 / n_fields)
    linear, pairs = weights[-1, 0], np.float32(0)
    for i in range(n_fields):
        linear += weights[row[i], 0]
        for j in range(i + 1, n_fields):
            for k in range(n_factors):
                pairs += vectors[row[i], j, k] * vectors[row[j], i, k]
    return linear + pairs * norm


@numba.njit(cache=True)
def _logits(rows, vectors, weights):  # type: ignore[no-untyped-def]
    found = np.empty(len(rows))
    for n in range(len(rows)):
        found[n] = _logit(rows[n], vectors, weights)
    return found


@numba.njit(cache=True, fastmath=True)
def _learn(rows, label, vectors, squares, weights, eta, lam):  # type: ignore[no-untyped-def]
    n_fields, n_factors = vectors.shape[1], vectors.shape[2]
    norm, rate, decay = np.float32(1.0 / n_fields), np.float32(eta), np.float32(lam)
    for n in range(len(rows)):
        row = rows[n]
        error = 1.0 / (1.0 + np.exp(-_logit(row, vectors, weights))) - label[n]
        for i in range(n_fields + 1):
            place = row[i] if i < n_fields else len(weights) - 1
            gradient = error + (lam * weights[place, 0] if i < n_fields else 0.0)
            weights[place, 1] += gradient * gradient
            weights[place, 0] -= eta * gradient / np.sqrt(weights[place, 1])
        kappa = np.float32(error) * norm
        for i in range(n_fields):
            for j in range(i + 1, n_fields):
                for k in range(n_factors):
                    one, other = vectors[row[i], j, k], vectors[row[j], i, k]
                    g_one = decay * one + kappa * other
                    g_other = decay * other + kappa * one
                    squares[row[i], j, k] += g_one * g_one
                    squares[row[j], i, k] += g_other * g_other
                    vectors[row[i], j, k] = one - rate * g_one / np.sqrt(squares[row[i], j, k])
                    vectors[row[j], i, k] = other - rate * g_other / np.sqrt(squares[row[j], i, k])
