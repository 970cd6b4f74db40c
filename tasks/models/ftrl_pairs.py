"""FTRL-proximal over single tokens and every pair of a row's tokens."""

from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted, validate_data

from tasks.errors import ConfigError
from tasks.models.ftrl import FTRLProximal
from tasks.models.hashed_pair_scoring import (
    decision_codes,
    decision_csr,
    hashed_pair_scorer,
    require_few_tokens,
    shift_of,
)
from tasks.models.kernels import pairs as kernels
from tasks.models.params import is_integer_between, require_number
from tasks.models.scoring import checked_codes, frozen


class FTRLPairs(FTRLProximal):
    """Logistic regression over single tokens and all their pairs, each pair with a weight of its own.

    Pairs are hashed while a row is learned and never written to disk. Where a factorization machine shares
    what it knows among pairs, this one learns each apart: better for pairs that are met often.

    Parameters
    ----------
    alpha, beta, l1, l2, fit_intercept, n_epochs, n_features
        The single tokens: as in :class:`tasks.models.ftrl.FTRLProximal`; `beta` is that of pairs too.
    pair_alpha
        Learning rate of pairs, above 0: a row has many more of them than tokens; see :meth:`defaults_for`.
    pair_l1, pair_l2
        Penalties of pairs, 0 or above.
    pair_bits
        Pairs share ``2**pair_bits`` weights, 1 to 25; 8 bytes each in training, 4 in the service.

    Attributes
    ----------
    coef_, intercept_, state_, loss_, classes_
        The single tokens: as in :class:`tasks.models.ftrl.FTRLProximal`.
    pair_coef_
        Weights of pairs, float32 ``(2**pair_bits,)``, computed at each access.
    pair_state_
        z and n of each pair's bucket, float32 ``(2**pair_bits, 2)``.

    Notes
    -----
    One logit: w0 + sum_i w_i x_i + sum_{i<j} w_h(i,j) x_i x_j, and every weight takes FTRL's step. A pair has no
    order: its bucket follows from the buckets of its two tokens, and so do the items of one list, which are pairs as
    well. All pairs count as occurrences of their own where they share a bucket. In float32 n stops growing at some
    ten million rows of one pair, which only ends the fall of that weight's rate.

    A row costs as many steps as it has pairs, so rows have at most 64 tokens.

    References
    ----------
    McMahan et al. (2013), "Ad click prediction: a view from the trenches", Algorithm 1.

    Examples
    --------
    Clicks where the signs of two tokens agree, which no linear model can learn:

    >>> codes = np.array([[0, 2], [0, 3], [1, 2], [1, 3]], dtype=np.int32)
    >>> learner = FTRLPairs(n_features=4, pair_bits=8, pair_alpha=0.1)
    >>> for _ in range(300):
    ...     _ = learner.partial_fit_codes(codes, [1, 0, 0, 1])
    >>> learner.predict_codes(codes).round().tolist()
    [1.0, 0.0, 0.0, 1.0]
    """

    kind: ClassVar[str] = "ftrl_pairs"
    learning_rates: ClassVar[tuple[str, ...]] = ("alpha", "pair_alpha")
    scorer = staticmethod(hashed_pair_scorer)
    search_space: ClassVar[dict[str, Any]] = {
        "alpha": {"low": 0.002, "high": 0.1, "log": True},
        "pair_alpha": {"low": 0.0002, "high": 0.02, "log": True},
        "pair_l1": {"low": 0.01, "high": 5.0, "log": True},
        "pair_l2": {"low": 0.1, "high": 50.0, "log": True},
    }
    _kernels: Any = kernels

    def __init__(
        self,
        alpha: float = 0.02,
        *,
        beta: float = 1.0,
        l1: float = 0.3,
        l2: float = 5.0,
        pair_alpha: float = 0.0015,
        pair_l1: float = 0.3,
        pair_l2: float = 5.0,
        pair_bits: int = 22,
        fit_intercept: bool = True,
        n_epochs: int = 5,
        n_features: int | None = None,
    ):
        super().__init__(
            alpha,
            beta=beta,
            l1=l1,
            l2=l2,
            fit_intercept=fit_intercept,
            n_epochs=n_epochs,
            n_features=n_features,
        )
        self.pair_alpha = pair_alpha
        self.pair_l1 = pair_l1
        self.pair_l2 = pair_l2
        self.pair_bits = pair_bits

    @classmethod
    def defaults_for(cls, n_tokens: int) -> dict[str, Any]:
        """Return both rates for rows of that many tokens: all tokens and pairs move the same logit."""
        n_pairs = n_tokens * (n_tokens - 1) // 2
        return {
            "alpha": min(round(0.48 / max(n_tokens, 1), 6), 0.1),
            "pair_alpha": min(round(0.4 / max(n_pairs, 1), 6), 0.05),
        }

    def check_params(self) -> None:
        """Raise ConfigError, naming the parameter, if one is out of its range."""
        super().check_params()
        for name in ("pair_alpha", "pair_l1", "pair_l2"):
            require_number(self.kind, name, getattr(self, name), positive=name == "pair_alpha")
        if self.beta == 0 and self.pair_l2 == 0:
            raise ConfigError(f"{self.kind}: beta must be above 0 where pair_l2 is 0")
        if not is_integer_between(self.pair_bits, 1, 25):
            raise ConfigError(
                f"{self.kind}: pair_bits must be an integer of 1 to 25, found {self.pair_bits!r}"
            )

    def meet(self, contract: Any) -> None:
        """Be told what rows are hashed with; ConfigError if they have too many tokens."""
        super().meet(contract)
        require_few_tokens(contract.n_tokens)

    def decision_function(self, X: Any) -> np.ndarray:
        """Return logits, float64 ``(n_rows,)``."""
        check_is_fitted(self, "state_")
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        X, out = _few_tokens(X), np.empty(X.shape[0])
        rows = (frozen(part) for part in (X.indptr, X.indices, X.data))
        decision_csr(*rows, *self._scoring, out)  # type: ignore[call-arg]
        return out + self.logit_offset_

    def partial_fit_codes(
        self, codes: np.ndarray, y: Any, sample_weight: Any = None
    ) -> "FTRLPairs":
        """Learn from hashed rows in order, as :meth:`tasks.models.ftrl.FTRLProximal.partial_fit_codes`."""
        require_few_tokens(np.shape(codes)[1])
        super().partial_fit_codes(codes, y, sample_weight)
        return self

    def decision_codes(self, codes: np.ndarray) -> np.ndarray:
        """Return logits of hashed rows, float64 ``(n_rows,)``."""
        check_is_fitted(self, "state_")
        codes, out = checked_codes(codes, len(self.state_) - 1), np.empty(len(codes))
        require_few_tokens(codes.shape[1])
        decision_codes(codes, *self._scoring, out)  # type: ignore[call-arg]
        return out + self.logit_offset_

    @property
    def pair_coef_(self) -> np.ndarray:
        """Weights of pairs, float32 ``(2**pair_bits,)``."""
        check_is_fitted(self, "pair_state_")
        out = np.empty(len(self.pair_state_), dtype=np.float32)
        alpha, l1, l2 = self._knobs[5:8]
        kernels.pair_weights(frozen(self.pair_state_), alpha, float(self.beta), l1, l2, out)
        return out

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the weights of tokens, ``(n_features,)``, and of pairs, ``(2**pair_bits,)``."""
        return {**super().arrays(), "pair_weights": self.pair_coef_}

    def snapshot(self) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[override]
        """Return a copy of all learned state, for :meth:`restore`."""
        return self.state_.copy(), self.pair_state_.copy()

    def restore(self, snapshot: tuple[np.ndarray, np.ndarray]) -> None:  # type: ignore[override]
        """Go back to a snapshot."""
        self.state_, self.pair_state_ = (array.copy() for array in snapshot)

    def _start(self, classes: np.ndarray, n_features: int) -> None:
        super()._start(classes, n_features)
        self.pair_state_ = np.zeros((2**self.pair_bits, 2), dtype=np.float32)

    def _learn_matrix(self, X: Any, y: np.ndarray, sample_weight: Any) -> None:
        super()._learn_matrix(_few_tokens(X), y, sample_weight)

    @property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self.state_, self.pair_state_

    @property
    def _knobs(self) -> tuple[Any, ...]:
        own = (float(self.pair_alpha), float(self.pair_l1), float(self.pair_l2))
        return (*super()._knobs, *own, int(self.pair_bits))

    @property
    def _scoring(self) -> tuple[Any, ...]:
        """What scores: weights of tokens and pairs, how a pair's bucket is found, the bias."""
        weights = {name: frozen(array) for name, array in self.arrays().items()}
        return (*weights.values(), shift_of(weights["pair_weights"]), self.bias)


def _few_tokens(X: Any) -> Any:
    """Return the rows of a matrix, none with too many entries."""
    X = sparse.csr_array(X)
    require_few_tokens(int(np.diff(X.indptr).max(initial=0)))
    return X
