"""Any estimator with scikit-learn's interface as a learner of hashed rows: in memory, and fitted when a pass ends.

``kind: lightgbm:LGBMClassifier`` names its class. It declares what it gets (``input``), is trained on the last
``max_rows`` rows, and is saved without pickle, as :mod:`tasks.models.estimators.scoring` reads it again.
"""

import logging
import math
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from tasks.errors import ConfigError, DegenerateError, InputError
from tasks.models import INPUTS
from tasks.models.estimators import scoring
from tasks.models.estimators.files import dumped
from tasks.models.estimators.params import build, is_lightgbm, one_line, weight_param
from tasks.models.learner import Learner
from tasks.models.scoring import checked_codes, checked_weights

MAX_ROWS, CARDINALITY = 500_000, 1024
_PROBE_ROWS, _PROBE_TOKENS, _PROBE_STEPS = 64, 3, 5
_SAME = 1e-6  # between the fitted estimator and the saved one
_log = logging.getLogger(__name__)


class EstimatorLearner(Learner):
    """A classifier with ``fit`` and ``predict_proba``, trained and served like any learner.

    Parameters
    ----------
    kind
        Its import path.
    cls
        Its class.
    params
        Its parameters; a mapping with ``kind`` (and ``params``) stands for another estimator, as in a Pipeline.
    input
        ``hashed``: a sparse matrix ``(n_rows, n_features)`` of +1 and -1. ``categorical``: a column per token, each
        value the token's index modulo `cardinality`; of a number, the middle of its bucket. LightGBM, and classifiers
        with ``categorical_features``, are told which columns are categories.
    cardinality
        Categories per column, 2 or more.
    max_rows
        Rows in memory, 1 or more: the last ones of the pass.
    n_features
        Number of hash buckets, ``contract.n_features``.
    random_state
        Given to every ``random_state`` that is None.

    Attributes
    ----------
    parts_ : dict of str to bytes
        The fitted estimator as it is saved; predictions are made with what is read back from it.

    Raises
    ------
    ConfigError
        If it cannot be made with these parameters, or has no ``fit`` or ``predict_proba``.
    """

    learns_at_the_end: ClassVar[bool] = True

    def __init__(
        self,
        kind: str,
        cls: Any,
        params: Mapping[str, Any],
        *,
        input: str | None = None,
        cardinality: int = CARDINALITY,
        max_rows: int = MAX_ROWS,
        n_features: int | None = None,
        random_state: int | None = None,
    ):
        self.kind, self.n_features = kind, n_features  # type: ignore[misc]
        self._input: dict[str, Any] = {
            "input": input,
            "cardinality": cardinality,
            "max_rows": max_rows,
        }
        if input not in INPUTS:
            raise ConfigError(f"{kind}: input must be {' or '.join(INPUTS)}, found {input!r}")
        self.estimator = build(kind, cls, params)
        own = self.estimator.get_params()
        seeds = [name for name in own if name.split("__")[-1] == "random_state"]
        self.estimator.set_params(**{name: random_state for name in seeds if own[name] is None})
        self._codes: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []
        self._weights: list[np.ndarray] = []
        self._is_weighted = False
        self._numbers: list[scoring.NumberColumn] = []
        self.n_seen_ = self.n_learned_ = 0

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return how it gets its rows, and the estimator's parameters that are numbers, text or lists of them."""
        own = self.estimator.get_params()
        simple = {key: value for key, value in own.items() if _is_simple(value)}
        return {**self._input, **simple, "n_features": self.n_features}

    def check_params(self) -> None:
        """Raise ConfigError if the estimator's own checks refuse a parameter."""
        if not hasattr(self.estimator, "_parameter_constraints"):
            return  # it checks when it is fitted: see probe
        try:
            self.estimator._validate_params()
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{self.kind}: {error}") from None

    def meet(self, contract: Any) -> None:
        """Be told what the rows are hashed with, and so which columns are numbers."""
        super().meet(contract)
        self._numbers = scoring.number_columns(contract)

    @property
    def takes_weights(self) -> bool:
        """Whether its ``fit`` does."""
        return weight_param(self.estimator) is not None

    def probe(self, *, weighted: bool = False) -> None:
        """Fit a few made-up rows, save, load and predict, so that what cannot work shows before work is spent.

        Raises
        ------
        ConfigError
            If fitting fails, an answer is no probability, it cannot be saved without pickle, or takes no weights.
        """
        super().probe(weighted=weighted)
        draw = np.random.default_rng(0)
        size = 1 << 20 if self.n_features is None else max(self.n_features, 2)
        codes = draw.integers(0, size, (_PROBE_ROWS, _PROBE_TOKENS)).astype(np.int32)
        own = self.estimator.get_params()
        short = {
            name: min(own[name], _PROBE_STEPS)
            for name in ("n_estimators", "max_iter", "iterations")
            if type(own.get(name)) is int
        }
        try:
            self.estimator.set_params(**short)
            with _silent(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                weights = draw.uniform(0.5, 2, _PROBE_ROWS) if weighted else None
                self._fit(codes, np.arange(_PROBE_ROWS) % 2, weights)
        except InputError as error:
            raise ConfigError(str(error)) from None

    # ---- learning

    def partial_fit_codes(
        self, codes: np.ndarray, y: Any, sample_weight: Any = None
    ) -> "EstimatorLearner":
        """Keep the rows, if they are among the last `max_rows`; they are learned by :meth:`end_pass`."""
        codes, labels = self.checked_rows(codes, y)
        weights = np.ones(len(codes))
        if sample_weight is not None:
            weights, self._is_weighted = checked_weights(sample_weight, len(codes)).copy(), True
        self._codes.append(codes.copy())
        self._labels.append(labels.astype(np.uint8))
        self._weights.append(weights)
        self.n_seen_ += len(codes)
        while sum(map(len, self._labels)) - len(self._labels[0]) >= self._input["max_rows"]:
            del self._codes[0], self._labels[0], self._weights[0]
        return self

    def end_pass(self) -> None:
        """Fit the rows of all passes so far, the last `max_rows` of them.

        Raises
        ------
        InputError
            If fitting fails, an answer is no probability, or it cannot be saved without pickle.
        DegenerateError
            If the rows that it learns have one label.
        """
        last = -int(self._input["max_rows"])
        held = (self._codes, self._labels, self._weights)
        codes, labels, weights = (np.concatenate(arrays)[last:] for arrays in held)
        self._codes, self._labels, self._weights = [codes], [labels], [weights]
        self.n_learned_ = len(labels)
        if self.n_learned_ < self.n_seen_:
            _log.warning(
                "%s learns from the last %s of %s rows: max_rows",
                self.kind,
                f"{self.n_learned_:,}",
                f"{self.n_seen_:,}",
            )
        if labels.min() == labels.max():
            raise DegenerateError(
                f"{self.kind}: all of the last {len(labels):,} rows have the label {labels[0]}"
            )
        own = weights if self._is_weighted else None
        self._fit(codes, labels, own)
        self.loss_ = self.log_loss(codes, labels, own)

    def arrays(self) -> dict[str, Any]:
        """Return the one file of the estimator."""
        return dict(self.parts_)

    def scorer(self, parts: Any, intercept: float, contract: Any) -> Any:  # type: ignore[override]
        """Return what scores hashed rows with its file."""
        return scoring.estimator_scorer(parts, intercept, contract, self._input)

    def decision_codes(self, codes: np.ndarray) -> np.ndarray:
        """Return logits of hashed rows, float64 ``(n_rows,)``."""
        codes = checked_codes(codes, self.require_size())
        return scoring.logits_of(self._predict(codes)) + self.logit_offset_

    def _fit(self, codes: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> None:
        rows = scoring.as_input(codes, self._input, self.require_size(), self._numbers)
        told = self._told_of_categories(codes.shape[1])
        if weights is not None:
            told[str(weight_param(self.estimator))] = weights
        try:
            self.estimator.fit(rows, labels, **told)
            fitted = np.asarray(self.estimator.predict_proba(rows[:200]))
            column = list(self.estimator.classes_).index(1)
        except Exception as error:  # an estimator may raise anything
            raise InputError(f"{self.kind}: {one_line(error)}") from None
        if fitted.ndim != 2 or fitted.shape[1] != 2:
            raise InputError(
                f"{self.kind}: predict_proba must return two columns, found {fitted.shape}"
            )
        expected = fitted[:, column]
        scoring.logits_of(expected)  # refuses what is no probability
        self.parts_ = dumped(self.kind, self.estimator)
        self._predict = scoring.predictor(
            self.parts_, self._input, self.require_size(), self._numbers
        )
        try:
            again = self._predict(codes[:200])
        except Exception as error:  # what it needs may not have been saved
            raise InputError(f"{self.kind}: once saved and loaded, {one_line(error)}") from None
        if not np.abs(again - expected).max() <= _SAME:
            raise InputError(f"{self.kind}: predicts something else once it is saved and loaded")

    def _told_of_categories(self, n_tokens: int) -> dict[str, Any]:
        """Tell the estimator which columns are categories, all but numbers; return what `fit` needs besides."""
        if self._input["input"] != "categorical":
            return {}
        categories = [*range(n_tokens)]
        for one in self._numbers:
            categories.remove(one.place)
        if is_lightgbm(self.estimator):
            return {"categorical_feature": categories}
        if "categorical_features" in self.estimator.get_params(deep=False):
            self.estimator.set_params(categorical_features=categories)
        return {}


@contextmanager
def _silent() -> Iterator[None]:
    """Silence what compiled code writes to the terminal by itself, as LightGBM does before it raises an error."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _is_simple(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_simple(one) for one in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int | str)
