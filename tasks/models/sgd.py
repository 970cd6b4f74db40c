"""scikit-learn's SGDClassifier with log loss, fed hashed rows in a stream: the reference's model."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn.linear_model import SGDClassifier
from sklearn.utils.validation import check_is_fitted

from tasks.errors import ConfigError
from tasks.models.estimators.scoring import to_csr
from tasks.models.learner import Learner
from tasks.models.scoring import (
    checked_codes,
    checked_labels,
    checked_weights,
    decision_codes,
    frozen,
    linear_scorer,
)

CHUNK_ROWS = 16_384  # rows a call to scikit-learn: each call costs milliseconds at 2**20 weights
MAX_WEIGHT, MAX_COPIES = 8.0, 64  # a heavier row is learned as equal ones, so many at most
_CLASSES = np.array([0, 1])
_HELD = (
    "coef_", "intercept_",  # what predicts; with `average` the others are what learns
    "_standard_coef", "_standard_intercept", "_average_coef", "_average_intercept",
)  # fmt: skip


class SGDLogistic(SGDClassifier, Learner):
    """Logistic regression by stochastic gradient descent; it learns from codes as well as matrices.

    Parameters
    ----------
    alpha, penalty, l1_ratio, learning_rate, eta0, power_t, average, shuffle, random_state
        As in scikit-learn's ``SGDClassifier``, with defaults for hashed rows.
    n_features
        Number of weights for codes; matrices bring their own width.

    Attributes
    ----------
    coef_, intercept_
        Weights ``(1, n_features)`` and bias ``(1,)``, float64.
    loss_
        Mean log loss (nats) of the rows of the last call, each chunk of rows predicted before it was
        learnt.

    Notes
    -----
    The reference keeps scikit-learn's learning rate "optimal", which starts at ``alpha ** -0.25``
    (32 for an alpha of 1e-6): with two dozen tokens a row that diverges for any alpha below 1e-4 and
    never recovers. "invscaling" starts at `eta0` whatever alpha is.

    A weight makes a row's step longer, and no other rate follows from it here as in FTRL: a row of 500 impressions would
    move its weights far beyond what fits it. One heavier than 8 is therefore learned as several equal ones, 64 at most.

    Examples
    --------
    >>> codes = np.array([[0, 1], [0, ~2], [0, 1], [0, ~2]], dtype=np.int32)
    >>> learner = SGDLogistic(n_features=4, random_state=0)
    >>> for _ in range(50):
    ...     _ = learner.partial_fit_codes(codes, [1, 0, 1, 0])
    >>> learner.predict_codes(codes).round().tolist()
    [1.0, 0.0, 1.0, 0.0]
    """

    kind: ClassVar[str] = "sgd"
    learning_rates: ClassVar[tuple[str, ...]] = ("eta0",)
    scorer = staticmethod(linear_scorer)
    # Higher rates win on validation rows, but what is served passes over those once more, and that pass
    # at a rate still high drags calibration out of bounds on the next day (measured from eta0 0.2 on).
    search_space: ClassVar[dict[str, Any]] = {
        "alpha": {"low": 1e-7, "high": 1e-4, "log": True},
        "eta0": {"low": 0.02, "high": 0.15, "log": True},
        "penalty": ["l2", "elasticnet"],
    }

    def __init__(
        self,
        alpha: float = 1e-6,
        *,
        penalty: str | None = "l2",
        l1_ratio: float = 0.15,
        learning_rate: str = "invscaling",
        eta0: float = 0.1,
        power_t: float = 0.25,
        average: bool | int = False,
        shuffle: bool = True,
        random_state: int | None = None,
        n_features: int | None = None,
    ):
        super().__init__(
            loss="log_loss",
            alpha=alpha,
            penalty=penalty,
            l1_ratio=l1_ratio,
            learning_rate=learning_rate,
            eta0=eta0,
            power_t=power_t,
            average=average,
            shuffle=shuffle,
            random_state=random_state,
        )
        self.n_features = n_features

    def check_params(self) -> None:
        """Raise ConfigError, naming the parameter, if one is out of its range."""
        try:
            self._validate_params()
        except ValueError as error:
            raise ConfigError(f"sgd: {error}") from None

    def fit(
        self,
        X: Any,
        y: Any,
        coef_init: Any = None,
        intercept_init: Any = None,
        sample_weight: Any = None,
    ) -> "SGDLogistic":
        """Learn from scratch from a matrix, as scikit-learn does; a logit offset is reset."""
        for name in ("negative_rate_", "no_click_rate_"):
            self.__dict__.pop(name, None)
        return super().fit(X, y, coef_init, intercept_init, sample_weight)

    def partial_fit_codes(
        self, codes: np.ndarray, y: Any, sample_weight: Any = None
    ) -> "SGDLogistic":
        """Learn from hashed rows, chunk by chunk; arguments and errors as for FTRLProximal."""
        codes = checked_codes(codes, self.require_size())
        labels = checked_labels(y, len(codes))
        weights = None if sample_weight is None else checked_weights(sample_weight, len(codes))
        order, total = None, 0.0
        if weights is not None:
            order, weights = _spread(weights)
        n_rows = len(codes) if order is None else len(order)
        for begin in range(0, n_rows, CHUNK_ROWS):
            rows: Any = slice(begin, begin + CHUNK_ROWS)
            row_weights = None if weights is None else weights[rows]
            rows = rows if order is None else order[rows]
            total += self._loss_of(codes[rows], labels[rows], row_weights)
            self.partial_fit(
                to_csr(codes[rows], self.require_size()), labels[rows], _CLASSES, row_weights
            )
        weight = len(codes) if weights is None else weights.sum()
        self.loss_ = float(total / weight) if weight else float("nan")
        return self

    def _loss_of(self, codes: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> float:
        logit = self._raw_logits(codes) if hasattr(self, "coef_") else np.zeros(len(codes))
        losses = np.logaddexp(
            0, np.where(labels == 1, -logit, logit)
        )  # infinite logits stay defined
        with np.errstate(over="ignore"):  # an infinite sum is how training learns of divergence
            return float(losses.sum() if weights is None else losses @ weights)

    def decision_codes(self, codes: np.ndarray) -> np.ndarray:
        """Return logits of hashed rows, float64 ``(n_rows,)``."""
        check_is_fitted(self, "coef_")
        return self._raw_logits(codes) + self.logit_offset_

    def decision_function(self, X: Any) -> np.ndarray:
        """Return logits of a matrix, float64 ``(n_rows,)``."""
        return super().decision_function(X) + self.logit_offset_

    def _raw_logits(self, codes: np.ndarray) -> np.ndarray:
        weights = np.ascontiguousarray(self.coef_[0])
        codes = checked_codes(codes, len(weights))
        out = np.empty(len(codes))
        decision_codes(codes, frozen(weights), float(self.intercept_[0]), out)
        return out

    @property
    def bias(self) -> float:
        """The bias as a number."""
        return float(self.intercept_[0])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the weights, ``(n_features,)``."""
        return {"weights": self.coef_[0]}

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return a copy of the weights, for :meth:`restore`."""
        return {name: getattr(self, name).copy() for name in _HELD if hasattr(self, name)}

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Restore the weights of a snapshot; the learning rate stays as it is."""
        for name, array in snapshot.items():
            setattr(self, name, array.copy())


def _spread(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the rows to learn, heavy ones several times, and the weight of each."""
    copies = np.clip(np.ceil(weights / MAX_WEIGHT), 1, MAX_COPIES).astype(np.int64)
    return np.repeat(np.arange(len(weights)), copies), np.repeat(weights / copies, copies)
