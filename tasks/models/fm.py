"""A factorization machine: what FTRL-proximal learns, and what two tokens add together."""

from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted, validate_data

from tasks.errors import ConfigError
from tasks.models.ftrl import FTRLProximal
from tasks.models.kernels import fm as kernels
from tasks.models.pair_scoring import pair_scorer
from tasks.models.params import is_integer_between, require_number

_SEEDS = 2**32
_POSITIVE = ("factor_alpha", "factor_beta", "factor_init")


class FactorizationMachine(FTRLProximal):
    """Logistic regression over single tokens and all their pairs, learned row by row.

    A pair's weight is the dot product of two short vectors, so that what a site and a campaign add
    together can be known before the two have met.

    Parameters
    ----------
    alpha, beta, l1, l2, fit_intercept, n_epochs, n_features
        The linear part: as in :class:`tasks.models.ftrl.FTRLProximal`.
    n_factors
        Length of a token's vector, 1 to 64.
    factor_alpha
        Learning rate of the vectors, above 0.
    factor_beta
        Above 0; a fresh factor moves by about ``factor_alpha / factor_beta`` times its gradient.
    factor_l2
        0 or above; each time a token is met its vector is pulled towards 0 this much.
    factor_init
        Size of the first factors, above 0; they are drawn evenly from both signs.
    min_evidence
        0 or above; a token has no vector until its summed squared gradients are above this. A row adds
        about p (1 - p), so that 100 is some 800 rows at a click rate of 0.17.
    random_state
        Seed of the first factors, 0 to 2**32 - 1; None is 0.

    Attributes
    ----------
    coef_, intercept_, state_, loss_, classes_
        The linear part: as in :class:`tasks.models.ftrl.FTRLProximal`.
    latent_
        The vectors, float32 ``(n_features, n_factors)``; those of tokens without enough evidence are 0.
    factor_state_
        Vectors and the sums of their squared gradients, float32 ``(n_features, 2, n_factors)``.

    Notes
    -----
    The logit is w0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j (Rendle's equation 1). Departures:
    the linear part is FTRL-proximal, the vectors AdaGrad, and a token enters pairs late. Most tokens of
    an ad log are addresses seen a few times, whose vectors would add noise to every pair of their row;
    on the simulated log this one rule is worth more than any other knob: validation log loss 0.3823
    without it, 0.3771 with it, 0.3845 for FTRL (400,000 rows, seed 7).

    A vector is drawn when its token is first let in, from the seed and the token's index: nothing
    depends on the order of rows but what is learned from them. In :meth:`tasks.models.ftrl.FTRLProximal.partial_fit_codes` two tokens of
    a row in one bucket are a pair like any other; a matrix with duplicates summed has no such pair.

    References
    ----------
    Rendle (2010), "Factorization machines", equations 1 and 4. Duchi et al. (2011), "Adaptive
    subgradient methods", for the rates.

    Examples
    --------
    Clicks where the signs of two tokens agree, which no linear model can learn:

    >>> codes = np.array([[0, 2], [0, 3], [1, 2], [1, 3]], dtype=np.int32)
    >>> learner = FactorizationMachine(n_features=4, min_evidence=0, factor_alpha=0.5)
    >>> for _ in range(300):
    ...     _ = learner.partial_fit_codes(codes, [1, 0, 0, 1])
    >>> learner.predict_codes(codes).round().tolist()
    [1.0, 0.0, 0.0, 1.0]
    """

    kind: ClassVar[str] = "fm"
    learning_rates: ClassVar[tuple[str, ...]] = ("alpha", "factor_alpha")
    scorer = staticmethod(pair_scorer)
    search_space: ClassVar[dict[str, Any]] = {
        "factor_alpha": {"low": 0.01, "high": 0.15, "log": True},
        "factor_l2": {"low": 1e-5, "high": 1e-2, "log": True},
        "min_evidence": {"low": 10.0, "high": 500.0, "log": True},
        "l2": {"low": 1.0, "high": 50.0, "log": True},
    }
    searched_around: ClassVar[dict[str, float]] = {
        "alpha": 4.0,
        "factor_alpha": 3.0,
        "factor_l2": 10.0,
    }
    _kernels: Any = kernels

    def __init__(
        self,
        alpha: float = 0.05,
        *,
        beta: float = 1.0,
        l1: float = 0.3,
        l2: float = 5.0,
        n_factors: int = 4,
        factor_alpha: float = 0.05,
        factor_beta: float = 1.5,
        factor_l2: float = 1e-3,
        factor_init: float = 0.05,
        min_evidence: float = 100.0,
        fit_intercept: bool = True,
        n_epochs: int = 5,
        n_features: int | None = None,
        random_state: int | None = None,
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
        self.n_factors = n_factors
        self.factor_alpha = factor_alpha
        self.factor_beta = factor_beta
        self.factor_l2 = factor_l2
        self.factor_init = factor_init
        self.min_evidence = min_evidence
        self.random_state = random_state

    def check_params(self) -> None:
        """Raise ConfigError, naming the parameter, if one is out of its range."""
        super().check_params()
        if not is_integer_between(self.n_factors, 1, 64):
            raise ConfigError(
                f"fm: n_factors must be an integer of 1 to 64, found {self.n_factors!r}"
            )
        for name in (*_POSITIVE, "factor_l2", "min_evidence"):
            require_number("fm", name, getattr(self, name), positive=name in _POSITIVE)
        seed = self.random_state
        if seed is not None and not is_integer_between(seed, 0, _SEEDS - 1):
            raise ConfigError(f"fm: random_state must be None or 0 to 2**32 - 1, found {seed!r}")

    def decision_function(self, X: Any) -> np.ndarray:
        """Return logits, float64 ``(n_rows,)``."""
        linear = super().decision_function(X)
        X = sparse.csr_array(
            validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        )
        latent = self.latent_.astype(np.float64)
        squares = X.multiply(X) @ (latent * latent)
        return linear + 0.5 * ((X @ latent) ** 2 - squares).sum(axis=1)

    @property
    def latent_(self) -> np.ndarray:
        """Vectors of all tokens, float32 ``(n_features, n_factors)``."""
        check_is_fitted(self, "factor_state_")
        return self.factor_state_[:, 0]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return weights ``(n_features,)`` and vectors ``(n_features, n_factors)``."""
        return {**super().arrays(), "latent": self.latent_}

    def snapshot(self) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[override]
        """Return a copy of all learned state, for :meth:`restore`."""
        return self.state_.copy(), self.factor_state_.copy()

    def restore(self, snapshot: tuple[np.ndarray, np.ndarray]) -> None:  # type: ignore[override]
        """Go back to a snapshot."""
        self.state_, self.factor_state_ = (array.copy() for array in snapshot)

    def _start(self, classes: np.ndarray, n_features: int) -> None:
        super()._start(classes, n_features)
        self.factor_state_ = np.zeros((n_features, 2, self.n_factors), dtype=np.float32)

    @property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self.state_, self.factor_state_

    @property
    def _knobs(self) -> tuple[Any, ...]:
        names = (*_POSITIVE[:2], "factor_l2", "factor_init", "min_evidence")
        own = (float(getattr(self, name)) for name in names)
        return (*super()._knobs, *own, self._seed, self._lanes)

    @property
    def _decision_knobs(self) -> tuple[Any, ...]:
        return (*super()._knobs, self._lanes)

    @property
    def _lanes(self) -> tuple[float, ...]:
        """As many numbers as factors: kernels are compiled for a length."""
        return (0.0,) * self.factor_state_.shape[2]

    @property
    def _seed(self) -> int:
        return 0 if self.random_state is None else int(self.random_state)
