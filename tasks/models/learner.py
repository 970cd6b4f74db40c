"""What a streaming learner of hashed rows is: four methods of its own; all else follows from them.

A kind of model is one class in a module of ``tasks/models/``, which ``env.yaml`` names by
``kind: tasks.models.my_model:MyModel``. docs/models.md shows one from the file to the served answer.
"""

import inspect
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tasks.errors import ConfigError, ContractError, InputError
from tasks.models.scoring import Scorer, checked_codes, checked_labels, sigmoid


class Learner:
    """A model that learns rows of codes in time order.

    A kind has, of its own:

    - ``__init__``: parameters with defaults, stored under their names; ``n_features`` among them, the number of
      weights (``2**bits``), and ``random_state``, if it draws;
    - :meth:`partial_fit_codes`: learn some rows, and leave their mean log loss in ``loss_``; with a third parameter,
      `sample_weight`, it takes logs whose rows stand for several impressions;
    - :meth:`arrays`: what it has learned and predicts with;
    - :meth:`logits`: rows and those arrays to logits, without the learner.

    It may have: :meth:`check_params`; ``search_space``; ``searched_around``, the few parameters that ``method:
    halving`` searches, and the factor by which it leaves their defaults; ``learning_rates``, the parameters to lower when training
    diverges; ``scorer``, where a compiled one is faster than :meth:`logits`.

    Attributes
    ----------
    loss_
        Mean log loss (nats) of the rows of the last call, each predicted before it was learned.
    negative_rate_
        Share of the rows without a click that it is trained on, above 0, at most 1; set by what leaves rows out
        (:class:`tasks.training.epochs.Training`).
    no_click_rate_
        Share of the impressions without a click that the log holds, as its schema says; set by :meth:`meet`.

    Notes
    -----
    Everything that learning changes lies in attributes that are arrays, numbers, text, or lists, tuples and
    mappings of them: checkpoints, snapshots and the average over a cluster's workers are made of those.

    Where p is the probability in a sample with the share w of the rows without a click, the probability among all
    rows is p / (p + (1 - p) / w), in logits a constant: logit + log w (He et al. 2014, "Practical lessons from
    predicting clicks on ads at Facebook", section 6.3).

    Examples
    --------
    The click rate of each token's bucket, in logits, averaged over the tokens of a row:

    >>> class ClickRate(Learner):
    ...     def __init__(self, *, prior: float = 1.0, n_features: int | None = None):
    ...         self.prior, self.n_features = prior, n_features
    ...
    ...     def partial_fit_codes(self, codes, y):
    ...         codes, y = self.checked_rows(codes, y)
    ...         if not hasattr(self, "counts_"):
    ...             self.counts_ = np.full((self.n_features, 2), float(self.prior))
    ...         self.loss_ = self.log_loss(codes, y)  # before the rows are learned
    ...         np.add.at(self.counts_, (codes ^ (codes >> 31), y[:, None].astype(int)), 1)
    ...         return self
    ...
    ...     def arrays(self):
    ...         return {"log_odds": np.log(self.counts_[:, 1] / self.counts_[:, 0])}
    ...
    ...     @staticmethod
    ...     def logits(codes, log_odds):
    ...         return log_odds[codes ^ (codes >> 31)].mean(axis=1)
    >>> codes = np.array([[0, 1], [0, ~2], [0, 1], [0, ~2]], dtype=np.int32)
    >>> learner = ClickRate(n_features=4).partial_fit_codes(codes, [1, 0, 1, 0])
    >>> learner.predict_codes(codes).round(2).tolist()
    [0.63, 0.37, 0.63, 0.37]
    """

    search_space: ClassVar[Mapping[str, Any]] = {}
    searched_around: ClassVar[Mapping[str, float]] = {}
    learning_rates: ClassVar[tuple[str, ...]] = ()
    learns_at_the_end: ClassVar[bool] = False  # of a pass, by `end_pass`, not row by row

    kind: ClassVar[str] = ""  # what env.yaml calls it; follows from module and class unless given

    loss_: float = math.nan
    negative_rate_: float = 1.0
    no_click_rate_: float = 1.0
    n_features: int | None = None

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        if "kind" not in vars(cls):
            cls.kind = f"{cls.__module__}:{cls.__qualname__}"

    # ---- what a kind writes

    def partial_fit_codes(self, codes: np.ndarray, y: Any) -> Any:
        """Learn from hashed rows in order, and return the learner.

        Parameters
        ----------
        codes
            int32 ``(n_rows, n_tokens)``, see :func:`tasks.hashing.codes.split_codes`.
        y
            Labels 0 or 1, ``(n_rows,)``.

        Notes
        -----
        A kind that takes weights has a third parameter, ``sample_weight: ndarray | None = None``, float64 ``(n_rows,)``
        and above 0: a row counts as so many equal ones, in the gradient and in ``loss_``.
        """
        raise NotImplementedError

    def arrays(self) -> Mapping[str, np.ndarray]:
        """Return what predicts, arrays of any shape by name; they are saved and served as float32."""
        raise NotImplementedError

    @staticmethod
    def logits(codes: np.ndarray, *args: Any, **arrays: Any) -> np.ndarray:
        """Return the logit of each row, float64 ``(n_rows,)``, from codes and :meth:`arrays` alone."""
        raise NotImplementedError

    def check_params(self) -> None:
        """Raise ConfigError, naming the parameter, if one is out of its range."""

    # ---- what follows

    @property
    def bias(self) -> float:
        """What is added to every logit; 0 unless a kind keeps it apart from its arrays."""
        return 0.0

    @property
    def logit_offset_(self) -> float:
        """Logarithm of the share of rows without a click that were learned; 0 where none was left out."""
        return math.log(self.negative_rate_ * self.no_click_rate_)

    @property
    def takes_weights(self) -> bool:
        """Whether it learns rows that stand for several impressions."""
        return "sample_weight" in inspect.signature(self.partial_fit_codes).parameters

    def meet(self, contract: Any) -> None:
        """Be told, before the first row, what the rows are hashed with.

        Raises
        ------
        ConfigError
            If rows have weights and the learner does not take them.
        """
        schema = contract.declared
        if schema.has_counts and not self.takes_weights:
            raise ConfigError(no_weights(self.kind))
        if schema.label_form.no_click_rate < 1:
            self.no_click_rate_ = float(schema.label_form.no_click_rate)

    @classmethod
    def defaults_for(cls, n_tokens: int) -> dict[str, Any]:
        """Return the defaults that depend on how many tokens a row has; none unless a kind says so."""
        return {}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name."""
        return {name: getattr(self, name) for name in param_defaults(type(self))}

    def set_params(self, **params: Any) -> Any:
        """Change parameters, and return the learner."""
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise ConfigError(f"{self.kind} has no parameter {name!r}")
            setattr(self, name, value)
        return self

    def decision_codes(self, codes: np.ndarray) -> np.ndarray:
        """Return logits of hashed rows, float64 ``(n_rows,)``."""
        codes = checked_codes(codes, self.require_size())
        with np.errstate(over="ignore", invalid="ignore"):  # training refuses what is not finite
            logit = np.asarray(self.logits(codes, **self.arrays()), dtype=np.float64)
        return logit + (self.bias + self.logit_offset_)

    def predict_codes(self, codes: np.ndarray) -> np.ndarray:
        """Return click probabilities of hashed rows, float64 ``(n_rows,)`` in [0, 1]."""
        return sigmoid(self.decision_codes(codes))

    def snapshot(self) -> Any:
        """Return a copy of all learned state, for :meth:`restore`."""
        known = self.get_params()
        return {name: copied(value) for name, value in vars(self).items() if name not in known}

    def restore(self, snapshot: Any) -> None:
        """Go back to a snapshot."""
        vars(self).update(copied(snapshot))

    def probe(self, *, weighted: bool = False) -> None:
        """Raise ConfigError if the model could not be trained, saved or served; it may be used up by it.

        Of a log whose rows have weights, `weighted` is true.
        """
        if weighted and not self.takes_weights:
            raise ConfigError(no_weights(self.kind))

    def end_pass(self) -> None:
        """Be told that a pass over the rows has ended."""

    @classmethod
    def scorer(cls, parts: Mapping[str, np.ndarray], intercept: float, contract: Any) -> Scorer:
        """Return what scores hashed rows with saved arrays, read-only float32; by :meth:`logits` unless a kind has better.

        Raises
        ------
        ContractError
            If the arrays do not fit the contract.
        """
        scorer = _scorer_of(cls, parts, intercept)
        try:  # arrays of another shape show themselves now, not in a request
            scorer.decision(np.zeros((2, contract.n_tokens), dtype=np.int32), np.empty(2))
            last = np.full((2, contract.n_tokens), contract.n_features - 1, dtype=np.int32)
            scorer.decision(last, np.empty(2))
        except (TypeError, ValueError, IndexError, KeyError) as error:
            raise ContractError(
                f"{cls.__name__}: the arrays do not fit a contract of {contract.bits} bits and {contract.n_tokens} "
                f"tokens ({error}); train the model again"
            ) from None
        return scorer

    # ---- for kinds to use

    def require_size(self) -> int:
        """Return `n_features`; ConfigError if it was not given."""
        if self.n_features is None:
            raise ConfigError(
                f"{self.kind}: codes need n_features, the number of weights; use make_learner"
            )
        return self.n_features

    def checked_rows(self, codes: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return codes and labels as arrays to learn from; errors as :func:`tasks.models.scoring.checked_codes`."""
        codes = checked_codes(codes, self.require_size())
        return codes, checked_labels(y, len(codes))

    def log_loss(
        self, codes: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None
    ) -> float:
        """Return the mean log loss (nats) of rows as they are predicted now, without the logit offset."""
        if not len(codes):
            return math.nan
        logit = self.decision_codes(codes) - self.logit_offset_
        losses = np.logaddexp(0, np.where(y == 1, -logit, logit))
        return float(np.average(losses, weights=sample_weight))


def learns_at_the_end(learner: Any) -> bool:
    """Return whether a learner keeps the rows of a pass and learns them all at once."""
    return getattr(learner, "learns_at_the_end", False)


def no_weights(kind: str) -> str:
    """Return the line that refuses a kind of model on a log whose rows have weights."""
    return (
        f"{kind} takes no weights of rows, which this log has (`weight` or `impressions` in its schema); "
        "choose another kind"
    )


def param_defaults(cls: Any) -> dict[str, Any]:
    """Return the parameters of a class, by the signature of its ``__init__``, and their defaults."""
    listed = list(inspect.signature(cls.__init__).parameters.values())[1:]
    named = (one for one in listed if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD))
    return {one.name: None if one.default is one.empty else one.default for one in named}


def copied(tree: Any) -> Any:
    """Return a copy of arrays, numbers and text, and of lists, tuples and mappings of them."""
    if isinstance(tree, np.ndarray):
        return tree.copy()
    if isinstance(tree, Mapping):
        return {name: copied(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(map(copied, tree))
    return tree


def _scorer_of(cls: Any, arrays: Mapping[str, np.ndarray], intercept: float) -> Scorer:
    def decision(codes: np.ndarray, out: np.ndarray) -> None:
        out[:] = cls.logits(codes, **arrays)
        out += intercept
        if not np.isfinite(out).all():
            raise InputError(f"{cls.__name__} gives a row no finite logit")

    def predict_row(codes: np.ndarray) -> float:
        logit = float(cls.logits(codes[None, :], **arrays)[0]) + intercept
        if not math.isfinite(logit):
            raise InputError(f"{cls.__name__} gives this row no finite logit, found {logit}")
        tail = math.exp(-abs(logit))
        return (1.0 if logit >= 0 else tail) / (1.0 + tail)

    return Scorer(decision, predict_row)
