"""A small neural network in NumPy: a short vector per value, one hidden layer, and a weight per value beside it."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tasks.errors import ConfigError
from tasks.hashing.codes import split_codes
from tasks.models.learner import Learner
from tasks.models.params import is_integer_between, require_number
from tasks.models.scoring import checked_weights, sigmoid

_TINY = 1e-8


class NeuralNet(Learner):
    """A linear model and a network with one hidden layer, learned together in small batches.

    Parameters
    ----------
    rate
        Learning rate of the network, above 0.
    linear_rate
        Learning rate of the linear part, above 0.
    l2
        0 or above; pulls the linear weights and the vectors of the tokens met towards 0.
    n_rows
        Vectors per token column, 2 to 2**20: a token's index is taken modulo this, so that the table stays in the
        processor's cache, and rare values share a vector.
    width
        Length of a vector, 1 to 64.
    hidden
        Units of the hidden layer, 1 to 1,024.
    batch_rows
        Rows per step, 1 or more.
    random_state
        Seed of the first vectors and units, 0 to 2**32 - 1; None is 0.
    n_features
        Number of weights of the linear part.

    Attributes
    ----------
    weights_ : ndarray
        Linear weights, float32 ``(n_features,)``.
    vectors_ : ndarray
        Float32 ``(n_tokens, n_rows, width)``, one table per token column.
    into_, out_ : ndarray
        Float32 ``(hidden, n_tokens * width + 1)`` and ``(hidden + 1,)``; the last entries are biases.
    squares_ : dict of str to ndarray
        The sums of squared gradients of each.

    Notes
    -----
    The logit is w . x + v . max(0, W e + b) + c, where e holds the vectors of the row's tokens side by side: the wide
    and deep model of Cheng et al. with AdaGrad for both parts, whose gradient is the mean over the batch for the
    network, and the sum for the linear weights and the vectors, most of which one row of a batch has. A token has no
    sign here but in the linear part.

    References
    ----------
    Cheng et al. (2016), "Wide & deep learning for recommender systems", section 3. Duchi et al. (2011), "Adaptive
    subgradient methods".

    Examples
    --------
    Clicks where two tokens agree, which no linear model can learn:

    >>> codes = np.array([[0, 2], [0, 3], [1, 2], [1, 3]], dtype=np.int32)
    >>> learner = NeuralNet(n_features=4, n_rows=4, rate=0.2, l2=0.0)
    >>> for _ in range(200):
    ...     _ = learner.partial_fit_codes(codes, [1, 0, 0, 1])
    >>> learner.predict_codes(codes).round().tolist()
    [1.0, 0.0, 0.0, 1.0]
    """

    learning_rates: ClassVar[tuple[str, ...]] = ("rate", "linear_rate")
    search_space: ClassVar[Mapping[str, Any]] = {
        "rate": {"low": 0.005, "high": 0.1, "log": True},
        "linear_rate": {"low": 0.005, "high": 0.2, "log": True},
        "l2": {"low": 1e-6, "high": 1e-2, "log": True},
    }
    searched_around: ClassVar[Mapping[str, float]] = {"rate": 3.0, "linear_rate": 3.0}

    def __init__(
        self,
        rate: float = 0.02,
        *,
        linear_rate: float = 0.05,
        l2: float = 1e-3,
        n_rows: int = 1024,
        width: int = 4,
        hidden: int = 32,
        batch_rows: int = 256,
        n_features: int | None = None,
        random_state: int | None = None,
    ):
        self.rate, self.linear_rate, self.l2 = rate, linear_rate, l2
        self.n_rows, self.width, self.hidden = n_rows, width, hidden
        self.batch_rows = batch_rows
        self.n_features, self.random_state = n_features, random_state

    def check_params(self) -> None:
        """Raise ConfigError, naming the parameter, if one is out of its range."""
        for name in ("rate", "linear_rate", "l2"):
            require_number(self.kind, name, getattr(self, name), positive=name != "l2")
        bounds = {"n_rows": (2, 2**20), "width": (1, 64), "hidden": (1, 1024)}
        seed = 0 if self.random_state is None else self.random_state
        values = {name: getattr(self, name) for name in (*bounds, "batch_rows")}
        bounds |= {"batch_rows": (1, 2**20), "random_state": (0, 2**32 - 1)}
        for name, value in (values | {"random_state": seed}).items():
            low, high = bounds[name]
            if not is_integer_between(value, low, high):
                raise ConfigError(
                    f"{self.kind}: {name} must be an integer of {low} to {high}, found {value!r}"
                )

    def partial_fit_codes(
        self, codes: np.ndarray, y: Any, sample_weight: Any = None
    ) -> "NeuralNet":
        """Learn from hashed rows in order, `batch_rows` at a time, each batch predicted before it is learned."""
        codes, labels = self.checked_rows(codes, y)
        weights = None if sample_weight is None else checked_weights(sample_weight, len(codes))
        if not hasattr(self, "weights_"):
            self._start(codes.shape[1])
        total = 0.0
        for begin in range(0, len(codes), self.batch_rows):
            rows = slice(begin, begin + self.batch_rows)
            with np.errstate(
                over="ignore", invalid="ignore"
            ):  # training refuses what is not finite
                own = None if weights is None else weights[rows]
                total += self._learn(codes[rows], labels[rows], own)
        weight = len(codes) if weights is None else float(weights.sum())
        self.loss_ = total / weight if weight else float("nan")
        return self

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the parameters of both parts."""
        return {
            "weights": self.weights_,
            "vectors": self.vectors_,
            "into": self.into_,
            "out": self.out_,
        }

    @staticmethod
    def logits(
        codes: np.ndarray,
        *,
        weights: np.ndarray,
        vectors: np.ndarray,
        into: np.ndarray,
        out: np.ndarray,
    ) -> np.ndarray:
        """Return the logit of each row, float64 ``(n_rows,)``."""
        index, signs = _split(codes)
        rows = _vectors_of(index, signs, vectors)
        units = np.maximum(_products(rows, into[:, :-1]) + into[:, -1], 0)
        return _logit(weights[index] * signs, units, out)

    def gradients(
        self, codes: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
    ) -> tuple[float, dict[str, Any]]:
        """Return the summed log loss of rows, and its derivatives by each array of :meth:`arrays`.

        Those by ``weights`` are ``(n_rows, n_tokens)``, those by ``vectors`` ``(n_rows, n_tokens, width)``: of each
        token met, in the order of the codes. No penalty is in them.
        """
        index, signs = _split(codes)
        rows = _vectors_of(index, signs, self.vectors_)
        before = _products(rows, self.into_[:, :-1]) + self.into_[:, -1]
        units = np.maximum(before, 0)
        logit = _logit(self.weights_[index] * signs, units, self.out_)
        losses, slope = (
            np.logaddexp(0, np.where(labels == 1, -logit, logit)),
            sigmoid(logit) - labels,
        )
        if weights is not None:
            losses, slope = losses * weights, slope * weights
        loss, slope = float(losses.sum()), slope.astype(self.into_.dtype)[:, None]
        into_units = slope * self.out_[:-1] * (before > 0)
        into_rows = np.einsum("ik,kj->ij", into_units, self.into_[:, :-1])
        return loss, {
            "weights": slope * signs,
            "vectors": into_rows.reshape(*codes.shape, -1),
            "into": np.hstack([_products(into_units.T, rows.T), into_units.sum(axis=0)[:, None]]),
            "out": np.append((units * slope).sum(axis=0), slope.sum()),
        }

    def _learn(self, codes: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> float:
        """Make one step and return the summed log loss from before."""
        weight = len(codes) if weights is None else float(weights.sum())
        if not weight:
            return 0.0  # rows of weight 0 are no rows
        loss, slopes = self.gradients(codes, labels, weights)
        index, signs = _split(codes)
        for name, array in (("into", self.into_), ("out", self.out_)):
            slope = slopes[name] / weight
            squares = self.squares_[name]
            squares += slope * slope
            array -= self.rate * slope / (np.sqrt(squares) + _TINY)
        here = signs.ravel() != 0
        _step_met(
            self.weights_[:, None], self.squares_["weights"][:, None], index.ravel()[here],
            slopes["weights"].reshape(-1, 1)[here], self.linear_rate, self.l2,
        )  # fmt: skip
        table = self.vectors_.reshape(-1, self.width)
        _step_met(
            table, self.squares_["vectors"].reshape(table.shape), _places(index, self.n_rows).ravel()[here],
            slopes["vectors"].reshape(-1, self.width)[here], self.rate, self.l2,
        )  # fmt: skip
        return loss

    def _start(self, n_tokens: int) -> None:
        self.check_params()
        draw = np.random.default_rng(self.random_state or 0)
        n_inputs = n_tokens * self.width
        self.weights_ = np.zeros(self.require_size(), dtype=np.float32)
        shape = (n_tokens, self.n_rows, self.width)
        self.vectors_ = draw.uniform(-0.05, 0.05, shape).astype(np.float32)
        into = draw.normal(0, np.sqrt(2 / n_inputs), (self.hidden, n_inputs + 1))
        into[:, -1] = 0
        self.into_ = into.astype(np.float32)
        self.out_ = np.append(draw.normal(0, np.sqrt(1 / self.hidden), self.hidden), 0)
        self.out_ = self.out_.astype(np.float32)
        self.squares_ = {name: np.zeros_like(array) for name, array in self.arrays().items()}
        self.squares_["weights"] += np.float32(1)  # a first step of a rare value is small
        self.squares_["vectors"] += np.float32(0.1)


def _split(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of each code, and its sign as float32; both are 0 where there is no token."""
    index, sign = split_codes(codes)
    return index, sign.astype(np.float32)


def _places(index: np.ndarray, n_rows: int) -> np.ndarray:
    """Return where each token's vector lies in the tables of all columns, one below the other."""
    return index % n_rows + n_rows * np.arange(index.shape[1])


def _vectors_of(index: np.ndarray, signs: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return the vectors of each row's tokens side by side, ``(n_rows, n_tokens * width)``; 0 for no token."""
    n_rows, width = vectors.shape[1:]
    found = vectors.reshape(-1, width)[_places(index, n_rows)]
    found[signs == 0] = 0
    return found.reshape(len(index), index.shape[1] * width)


def _products(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the dot product of each row with each of the others.

    Not by BLAS: its threads cost more than they save in matrices this small, and its sums depend on the number of rows.
    """
    return np.einsum("ij,kj->ik", np.ascontiguousarray(rows), np.ascontiguousarray(others))


def _logit(linear: np.ndarray, units: np.ndarray, out: np.ndarray) -> np.ndarray:
    deep = np.einsum("ij,j->i", units, out[:-1])
    return linear.sum(axis=1, dtype=np.float64) + deep + out[-1]


def _step_met(
    table: np.ndarray,
    squares: np.ndarray,
    at: np.ndarray,
    slopes: np.ndarray,
    rate: float,
    l2: float,
) -> None:
    """Make AdaGrad's step for the rows of a table that were met, the slopes of each summed first."""
    order = np.argsort(at, kind="stable")
    met, begins = np.unique(at[order], return_index=True)
    slope = np.add.reduceat(slopes[order], begins, axis=0) + l2 * table[met]
    grown = squares[met] + slope * slope
    squares[met] = grown
    table[met] -= rate * slope / np.sqrt(grown)
