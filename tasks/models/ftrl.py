"""FTRL-proximal logistic regression, the learner of McMahan et al. (2013)."""

from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from tasks.errors import ConfigError
from tasks.models.kernels import ftrl as kernels
from tasks.models.learner import Learner
from tasks.models.params import require_number
from tasks.models.scoring import (
    checked_codes,
    checked_labels,
    checked_weights,
    frozen,
    linear_scorer,
    sigmoid,
)

_NO_WEIGHTS = frozen(np.ones(1))


class FTRLProximal(ClassifierMixin, BaseEstimator, Learner):
    """Logistic regression with a learning rate of its own for every weight, learned row by row.

    Parameters
    ----------
    alpha
        Learning rate, above 0: a fresh weight moves by about ``alpha / beta`` times its gradient; see :meth:`defaults_for`.
    beta
        Smooths the rate of weights met seldom, 0 or above (above 0 if `l2` is 0).
    l1
        0 or above; a weight is exactly 0 until its summed gradient z exceeds it.
    l2
        0 or above; pulls weights towards 0.
    fit_intercept
        Whether to learn a bias, without penalties.
    n_epochs
        Passes over the rows that :meth:`fit` makes, in row order; 1 or more.
    n_features
        Number of weights for codes; matrices bring their own width.

    Attributes
    ----------
    coef_, intercept_
        Weights ``(1, n_features)`` and bias ``(1,)``, float64, computed at each access.
    state_
        z and n of each weight, float64 ``(n_features + 1, 2)``, the bias last.
    loss_
        Mean log loss (nats) of the rows of the last call, each predicted before it was learned.
    classes_
        The two labels; codes always have 0 and 1.

    Notes
    -----
    Departures from the paper's Algorithm 1: feature values of any size (the paper's are 0 or 1), a bias, row weights
    (which multiply the gradient, so weight 2 is not the same as a row twice: the rate falls faster). In
    :meth:`partial_fit_codes` every token is an occurrence of its own: two tokens of a row in one bucket both add their
    weight and both move it, from the state before the row. A matrix with duplicates summed has one entry of value 2 (or
    0) there instead and squares the sum of the gradients; the results differ where tokens of one row collide. Nothing
    is drawn: the same rows in the same order give the same bits.

    References
    ----------
    McMahan et al. (2013), "Ad click prediction: a view from the trenches", Algorithm 1.

    Examples
    --------
    >>> codes = np.array([[0, 1], [0, ~2], [0, 1], [0, ~2]], dtype=np.int32)
    >>> learner = FTRLProximal(n_features=4)
    >>> for _ in range(50):
    ...     _ = learner.partial_fit_codes(codes, [1, 0, 1, 0])
    >>> learner.predict_codes(codes).round().tolist()
    [1.0, 0.0, 1.0, 0.0]
    """

    kind: ClassVar[str] = "ftrl"
    learning_rates: ClassVar[tuple[str, ...]] = ("alpha",)
    scorer = staticmethod(linear_scorer)
    search_space: ClassVar[dict[str, Any]] = {
        "alpha": {"low": 0.002, "high": 0.2, "log": True},
        "l1": {"low": 0.01, "high": 5.0, "log": True},
        "l2": {"low": 0.1, "high": 50.0, "log": True},
    }
    searched_around: ClassVar[dict[str, float]] = {"alpha": 4.0, "l1": 4.0, "l2": 4.0}
    _kernels: Any = kernels

    def __init__(
        self,
        alpha: float = 0.05,
        *,
        beta: float = 1.0,
        l1: float = 0.3,
        l2: float = 5.0,
        fit_intercept: bool = True,
        n_epochs: int = 5,
        n_features: int | None = None,
    ):
        self.alpha = alpha
        self.beta = beta
        self.l1 = l1
        self.l2 = l2
        self.fit_intercept = fit_intercept
        self.n_epochs = n_epochs
        self.n_features = n_features

    @classmethod
    def defaults_for(cls, n_tokens: int) -> dict[str, Any]:
        """Return the rate for rows of that many tokens: all of them move the same logit, so it is shared among them."""
        return {"alpha": min(round(1.2 / max(n_tokens, 1), 6), 0.1)}

    def check_params(self) -> None:
        """Raise ConfigError, naming the parameter, if one is out of its range."""
        for name in ("alpha", "beta", "l1", "l2"):
            require_number(self.kind, name, getattr(self, name), positive=name == "alpha")
        if self.beta == 0 and (self.l2 == 0 or self.fit_intercept):
            raise ConfigError(
                f"{self.kind}: beta must be above 0 where l2 is 0 or there is an intercept, or 0 is divided by 0"
            )
        if not isinstance(self.n_epochs, int) or self.n_epochs < 1:
            raise ConfigError(
                f"{self.kind}: n_epochs must be an integer of at least 1, found {self.n_epochs!r}"
            )

    # ---- matrices, as scikit-learn has them

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "FTRLProximal":
        """Learn from scratch from a matrix, dense or sparse, and two labels of any kind."""
        for name in ("state_", "classes_", "negative_rate_", "no_click_rate_"):
            self.__dict__.pop(name, None)
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64, reset=True)
        self._start(np.unique(self._checked_labels(y)), X.shape[1])
        for _ in range(self.n_epochs):
            self._learn_matrix(X, y, sample_weight)
        return self

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> "FTRLProximal":
        """Learn from more rows; `classes` names both labels where the first rows may lack one."""
        first = not hasattr(self, "state_")
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64, reset=first)
        self._checked_labels(y)
        if first:
            self._start(np.unique(y if classes is None else classes), X.shape[1])
        self._learn_matrix(X, y, sample_weight)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Return logits, float64 ``(n_rows,)``."""
        check_is_fitted(self, "state_")
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        return np.asarray(X @ self.coef_[0]).ravel() + self.intercept_[0] + self.logit_offset_

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities of both labels, ``(n_rows, 2)``."""
        p_click = sigmoid(self.decision_function(X))
        return np.column_stack([1 - p_click, p_click])

    def predict(self, X: Any) -> np.ndarray:
        """Return the likelier label of each row."""
        likelier = (self.decision_function(X) > 0).astype(int)
        return self.classes_[likelier]

    def _checked_labels(self, y: np.ndarray) -> np.ndarray:
        check_classification_targets(y)
        return y

    def _start(self, classes: np.ndarray, n_features: int) -> None:
        self.check_params()
        if len(classes) != 2:
            noun = "class" if len(classes) == 1 else "classes"
            raise ValueError(
                f"Only binary classification is supported. {type(self).__name__} needs two labels, found {len(classes)} {noun}"
            )
        self.classes_ = classes
        self.state_ = np.zeros((n_features + 1, 2))

    def _learn_matrix(self, X: Any, y: np.ndarray, sample_weight: Any) -> None:
        unknown = np.setdiff1d(y, self.classes_)
        if unknown.size:
            raise ValueError(
                f"y holds the label {unknown[0]!r}, which is not one of {self.classes_.tolist()}"
            )
        X = sparse.csr_array(X)
        weights = (
            _NO_WEIGHTS
            if sample_weight is None
            else frozen(_check_sample_weight(sample_weight, X, dtype=np.float64))
        )
        labels = frozen((y == self.classes_[1]).astype(np.float64))
        indptr, indices = frozen(X.indptr.astype(np.int64)), frozen(X.indices.astype(np.int64))
        values = frozen(X.data.astype(np.float64))
        total = self._kernels.learn_csr(
            indptr, indices, values, labels, weights, *self._arrays, *self._knobs
        )
        self._note_loss(total, weights, len(labels))

    # ---- codes, as the pipeline has them

    def partial_fit_codes(
        self, codes: np.ndarray, y: Any, sample_weight: Any = None
    ) -> "FTRLProximal":
        """Learn from hashed rows in order.

        Parameters
        ----------
        codes
            int32 ``(n_rows, n_tokens)``, see :func:`tasks.hashing.codes.split_codes`.
        y
            Labels 0 or 1, ``(n_rows,)``.
        sample_weight
            Weight of each row, 0 or above; None is 1 for all.

        Raises
        ------
        ContractError
            If a code is outside the weights.
        ValueError
            If lengths differ, a label is not 0 or 1, or a weight is not a number of 0 or above.
        """
        if not hasattr(self, "state_"):
            self._start(np.array([0, 1]), self.require_size())
            self.n_features_in_ = self.n_features
        codes = checked_codes(codes, len(self.state_) - 1)
        labels = checked_labels(y, len(codes))
        weights = (
            _NO_WEIGHTS if sample_weight is None else checked_weights(sample_weight, len(codes))
        )
        total = self._kernels.learn_codes(codes, labels, weights, *self._arrays, *self._knobs)
        self._note_loss(total, weights, len(codes))
        return self

    def decision_codes(self, codes: np.ndarray) -> np.ndarray:
        """Return logits of hashed rows, float64 ``(n_rows,)``."""
        check_is_fitted(self, "state_")
        codes = checked_codes(codes, len(self.state_) - 1)
        out = np.empty(len(codes))
        arrays = [frozen(array) for array in self._arrays]
        self._kernels.decision_state(codes, *arrays, *self._decision_knobs, out)
        return out + self.logit_offset_

    # ---- learned state

    @property
    def coef_(self) -> np.ndarray:
        """Weights, float64 ``(1, n_features)``."""
        out = np.empty(len(self.state_) - 1)
        alpha, beta, l1, l2 = self._knobs[:4]
        kernels.all_weights(frozen(self.state_), alpha, beta, l1, l2, out)
        return out[None, :]

    @property
    def intercept_(self) -> np.ndarray:
        """Bias, float64 ``(1,)``; 0 without one."""
        z, n = self.state_[-1]
        return np.array(
            [-z / ((self.beta + np.sqrt(n)) / self.alpha) if self.fit_intercept else 0.0]
        )

    @property
    def bias(self) -> float:
        """The bias as a number."""
        return float(self.intercept_[0])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the weights, ``(n_features,)``."""
        return {"weights": self.coef_[0]}

    def snapshot(self) -> np.ndarray:
        """Return a copy of all learned state, for :meth:`restore`."""
        return self.state_.copy()

    def restore(self, snapshot: np.ndarray) -> None:
        """Go back to a snapshot."""
        self.state_ = snapshot.copy()

    @property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        """What the kernels learn in."""
        return (self.state_,)

    @property
    def _knobs(self) -> tuple[Any, ...]:
        return (
            float(self.alpha),
            float(self.beta),
            float(self.l1),
            float(self.l2),
            bool(self.fit_intercept),
        )

    @property
    def _decision_knobs(self) -> tuple[Any, ...]:
        return self._knobs

    def _note_loss(self, total: float, weights: np.ndarray, n_rows: int) -> None:
        weight = weights.sum() if weights is not _NO_WEIGHTS else n_rows
        self.loss_ = float(total / weight) if weight else float("nan")

    def __sklearn_tags__(self) -> Any:
        """Declare two classes only, and sparse input."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.sparse = True
        return tags
