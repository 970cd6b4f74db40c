"""Epochs over batches: a learner is fed in time order, and its best epoch is kept."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from tasks.errors import ConfigError, InputError
from tasks.metrics import log_loss, roc_auc
from tasks.models.scoring import sigmoid
from tasks.sampling import checked_rate, keep_rows


class Rows(Protocol):
    """What is needed of a feature set: batches with ``codes`` and ``label``, in time order."""

    @property
    def n_rows(self) -> int: ...

    def batches(self) -> Iterator[Any]: ...


class _Slice(NamedTuple):
    codes: Any
    label: Any


class Tail:
    """The last rows of a feature set, read as one; the whole set if it has no more."""

    def __init__(self, rows: Rows, max_rows: int):
        self._rows = rows
        self._n_skipped = max(0, rows.n_rows - max_rows)
        self.n_rows = rows.n_rows - self._n_skipped

    def batches(self) -> Iterator[_Slice]:
        """Yield the batches, the first one cut where the tail begins."""
        offset = 0
        for batch in self._rows.batches():
            begin = max(0, self._n_skipped - offset)
            offset += len(batch.label)
            if begin < len(batch.label):
                yield _Slice(batch.codes[begin:], batch.label[begin:])


class DivergenceError(ConfigError):
    """Training left the finite numbers: a learning rate is too high for these rows."""


@dataclass(frozen=True)
class Epoch:
    """One pass; losses in nats, that of training progressive: rows are predicted before they are learnt.

    Where training left out rows without a click, its loss is that of the rows shown: another click
    rate, so another scale than that of validation.
    """

    epoch: int
    train_log_loss: float
    valid_log_loss: float
    valid_auc: float
    seconds: float


class History(NamedTuple):
    """What :func:`fit_stream` did; the learner holds the weights of `best_epoch` (counted from 1)."""

    epochs: tuple[Epoch, ...]
    best_epoch: int
    best_log_loss: float

    def to_frame(self) -> pd.DataFrame:
        """Return one row an epoch: ``epoch``, ``train_log_loss``, ``valid_log_loss``, ``valid_auc``, ``seconds``."""
        return pd.DataFrame([asdict(epoch) for epoch in self.epochs])


def fit_stream(
    learner: Any,
    train: Rows,
    valid: Rows,
    *,
    max_epochs: int = 5,
    patience: int = 1,
    negative_rate: float = 1.0,
    seed: int = 0,
    progress: Callable[[int, int, int], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> History:
    """Train until validation log loss gets worse, and leave the learner at its best epoch.

    Parameters
    ----------
    learner
        An estimator with ``partial_fit_codes``, ``predict_codes``, ``loss_``, ``snapshot``, ``restore``.
    train, valid
        Feature sets; `valid` is later in time.
    max_epochs
        At most this many passes, 1 or more.
    patience
        Epochs without a better validation log loss after which to stop, 1 or more.
    negative_rate
        Probability of a training row without a click to be learnt, above 0, at most 1; the same rows
        in every epoch. The learner's probabilities, and those of the model saved from it, are
        corrected back (:mod:`tasks.models.shift`); validation sees every row.
    seed
        Which rows are left out.
    progress
        Called after each batch with the epoch, rows done in it, and rows in all.
    on_epoch
        Called after each epoch; what it raises ends the training.

    Raises
    ------
    ConfigError
        If `max_epochs`, `patience` or `negative_rate` is out of its range.
    InputError
        If there is nothing to train on, or nothing to judge by.
    DivergenceError
        If a loss is not finite; the message names epoch and batch.
    """
    for name, value in (("max_epochs", max_epochs), ("patience", patience)):
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"training: {name} must be an integer of at least 1, found {value!r}")
    for name, rows in (("train", train), ("valid", valid)):
        if not rows.n_rows:
            raise InputError(
                f"the {name} part has no rows; take more of the log or other split shares"
            )
    learner.negative_rate_ = checked_rate(negative_rate)
    epochs: list[Epoch] = []
    best_loss, best_epoch, best_state = math.inf, 0, None
    for number in range(1, max_epochs + 1):
        since = time.perf_counter()
        train_loss = _learn(learner, train, number, progress, seed)
        valid_loss, auc = _judge(learner, valid, number)
        epochs.append(Epoch(number, train_loss, valid_loss, auc, time.perf_counter() - since))
        if on_epoch is not None:
            on_epoch(epochs[-1])
        if valid_loss < best_loss:
            best_loss, best_epoch = valid_loss, number
            best_state = learner.snapshot() if number < max_epochs else None
        elif number - best_epoch >= patience:
            break
    if best_epoch < len(epochs):
        learner.restore(best_state)
    return History(tuple(epochs), best_epoch, best_loss)


def _learn(
    learner: Any,
    train: Rows,
    epoch: int,
    progress: Callable[[int, int, int], None] | None,
    seed: int,
) -> float:
    """Pass over the training rows once and return the mean progressive log loss of those learnt."""
    total, n_done, n_learnt = 0.0, 0, 0
    for number, batch in enumerate(train.batches(), start=1):
        codes, label = _shown(batch, learner, n_done, seed)
        n_done += len(batch.label)
        if len(label):
            total += len(label) * _learn_batch(learner, codes, label, f"{epoch}, batch {number}")
            n_learnt += len(label)
        if progress is not None:
            progress(epoch, n_done, train.n_rows)
    if not n_learnt:
        raise InputError(
            f"negative_rate {learner.negative_rate_:g} left none of {n_done:,} rows to learn from; raise it"
        )
    return total / n_learnt


def _learn_batch(learner: Any, codes: Any, label: Any, where: str) -> float:
    """Learn some rows and return their mean loss; DivergenceError if it is not finite."""
    try:
        learner.partial_fit_codes(codes, label)
    except ValueError as error:  # scikit-learn's own words for weights that overflowed
        if "overflow" not in str(error):
            raise
        raise _diverged(learner, f"epoch {where}") from None
    if not math.isfinite(learner.loss_):
        raise _diverged(learner, f"epoch {where}")
    return learner.loss_


def _shown(batch: Any, learner: Any, first_row: int, seed: int) -> tuple[Any, Any]:
    """Return the rows of a batch that the learner is shown."""
    rate = getattr(learner, "negative_rate_", 1.0)
    if rate == 1:
        return batch.codes, batch.label
    kept = keep_rows(batch.label, first_row=first_row, negative_rate=rate, seed=seed)
    return batch.codes[kept], batch.label[kept]


def _judge(learner: Any, valid: Rows, epoch: int) -> tuple[float, float]:
    """Return log loss and AUC on the validation rows."""
    labels, logits = [], []
    for batch in valid.batches():
        labels.append(batch.label)
        logits.append(learner.decision_codes(batch.codes))
    logit = np.concatenate(logits)
    if not np.isfinite(logit).all():
        raise _diverged(learner, f"validation after epoch {epoch}")
    y_true, p_click = np.concatenate(labels), sigmoid(logit)
    return log_loss(y_true, p_click), roc_auc(y_true, p_click)


def _diverged(learner: Any, where: str) -> DivergenceError:
    return DivergenceError(
        f"training of {type(learner).__name__} diverged ({where}): the loss is not finite; "
        "lower the learning rate (alpha of ftrl, eta0 of sgd, factor_alpha of fm)"
    )


def predict_stream(model: Any, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and click probabilities of a feature set, both float64, batch by batch.

    `model` is a learner or a saved model. One that carries a hash contract refuses rows of another.

    Raises
    ------
    ContractError
        If model and rows do not share one hash contract.
    """
    contract, theirs = getattr(model, "contract", None), getattr(rows, "contract", None)
    if contract is not None and theirs is not None:
        contract.require_same(theirs, where="the feature set")
    labels, predictions = [np.empty(0)], [np.empty(0)]
    for batch in rows.batches():
        labels.append(batch.label.astype(np.float64))
        predictions.append(model.predict_codes(batch.codes))
    return np.concatenate(labels), np.concatenate(predictions)


def refresh(learner: Any, rows: Rows, *, seed: int = 0) -> None:
    """Let a learner pass over more rows once: those it was chosen by, so that it has seen the newest.

    Afterwards they judge it no longer. Rows without a click are left out as they were in training.
    """
    _learn(learner, rows, 1, None, seed)


def field_importance(model: Any, rows: Any, *, max_rows: int = 50_000) -> pd.DataFrame:
    """Return how much log loss rises when a field's part of the logit is replaced by its mean.

    Parameters
    ----------
    model
        A saved model (:class:`tasks.models.artifact.ScoringModel`).
    rows
        A feature set with labels, at best one that the model was not trained on.
    max_rows
        At most this many rows, taken evenly over the whole set.

    Returns
    -------
    DataFrame
        Columns ``field`` and ``importance`` (nats; below 0 the model is better off without it), most
        important first; time features and crosses are fields too.

    Notes
    -----
    Fields share information: of two that say the same, each looks unimportant alone.
    """
    codes, labels = _spread(rows, max_rows)
    parts = model.contributions_codes(codes)
    logit = parts.sum(axis=1) + model.intercept
    base = _mean_loss(logit, labels)
    rise = [_mean_loss(logit - part + part.mean(), labels) - base for part in parts.T]
    table = pd.DataFrame({"field": list(model.contract.token_fields), "importance": rise})
    return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def _spread(rows: Any, max_rows: int) -> tuple[np.ndarray, np.ndarray]:
    step, offset = max(1, -(-rows.n_rows // max_rows)), 0
    codes, labels = [], []
    for batch in rows.batches():
        picked = slice(-offset % step, None, step)
        codes.append(batch.codes[picked])
        labels.append(batch.label[picked])
        offset += len(batch.label)
    if not offset:
        raise InputError("there are no rows to find the importance of fields on")
    return np.concatenate(codes), np.concatenate(labels)


def _mean_loss(logit: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0, np.where(labels == 1, -logit, logit))))
