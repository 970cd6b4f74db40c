"""Epochs over batches: a learner is fed in time order, and its best epoch is kept."""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tasks.errors import ConfigError, DivergenceError, InputError
from tasks.evaluation.metrics import log_loss, roc_auc
from tasks.models.predict import Rows
from tasks.models.scoring import sigmoid
from tasks.training.checkpoint import Checkpoint, core_of, digest_of
from tasks.training.history import Epoch, History, Position
from tasks.training.sampling import checked_rate, keep_rows


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
    checkpoint: str | Path | None = None,
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
        corrected back (:mod:`tasks.models.logit_offset`); validation sees every row.
    seed
        Which rows are left out.
    progress
        Called after each batch with the epoch, rows done in it, and rows in all.
    on_epoch
        Called after each epoch; what it raises ends the training.
    checkpoint
        A file to go on from if it is there and fits, and to leave behind for the next run: after an
        epoch and every half minute within one, as long as that takes at most 2% of the time. The
        weights and losses are then those of a run that was never stopped. It stays, so that whoever
        is killed later need not train again; remove it when the model is saved. Needs feature sets.

    Raises
    ------
    ConfigError
        If `max_epochs`, `patience` or `negative_rate` is out of its range.
    InputError
        If there is nothing to train on, or nothing to judge by.
    DivergenceError
        If a loss or weight is not finite; the message names epoch and batch.
    DiskFullError
        If there is no room for the checkpoint.
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
    kept = None
    if checkpoint is not None:
        knobs = {"max_epochs": max_epochs, "patience": patience, "seed": seed}
        kept = Checkpoint(checkpoint, of=_identity(learner, train, valid) | knobs)
    at = Position.of(kept.load(learner) if kept else None)
    while not at.is_over(max_epochs, patience):
        train_loss = _pass(learner, train, at, seed, progress, kept)
        since = time.perf_counter() - at.seconds
        valid_loss, auc = _judge(learner, valid, at.epoch)
        seconds = time.perf_counter() - since
        at.epochs.append(Epoch(at.epoch, train_loss, valid_loss, auc, seconds))
        if on_epoch is not None:
            on_epoch(at.epochs[-1])
        at.end_epoch(learner, is_last=at.epoch == max_epochs)
        if kept is not None:
            kept.save_if_due(learner, at.saved())
    if at.best_epoch < len(at.epochs):
        learner.restore(at.best_state)
    return History(tuple(at.epochs), at.best_epoch, at.best_loss)


def _identity(learner: Any, train: Any, valid: Any) -> dict[str, Any]:
    """Return what a checkpoint is of: rows by the digests of their plans, and the learner before them."""
    core = core_of(learner)
    return {
        "rows": [rows.manifest["digest"] for rows in (train, valid)],
        "learner": type(core).__name__,
        "params": core.get_params(),
        "learnt": digest_of(core),
        "n_shards": getattr(learner, "n_shards", 1),
    }


def _pass(
    learner: Any,
    train: Rows,
    at: Position,
    seed: int,
    progress: Callable[[int, int, int], None] | None = None,
    kept: Checkpoint | None = None,
) -> float:
    """Learn what is left of an epoch and return the mean progressive log loss of all rows learnt in it."""
    since, n_done = time.perf_counter() - at.seconds, 0
    for number, batch in enumerate(train.batches(), start=1):
        first_row, n_done = n_done, n_done + len(batch.label)
        if number <= at.n_batches:
            continue
        _learn(learner, batch, at, first_row, seed)
        at.n_batches, at.seconds = number, time.perf_counter() - since
        if kept is not None:
            kept.save_if_due(learner, at.saved(), within_epoch=True)
        if progress is not None:
            progress(at.epoch, n_done, train.n_rows)
    if not at.n_learnt:
        raise InputError(
            f"negative_rate {learner.negative_rate_:g} left none of {n_done:,} rows to learn from; raise it"
        )
    _require_finite(learner, f"epoch {at.epoch}, by batch {at.n_batches}")
    return at.total_loss / at.n_learnt


def _learn(learner: Any, batch: Any, at: Position, first_row: int, seed: int) -> None:
    """Learn those rows of a batch that are shown, and add up their loss."""
    codes, label = _shown(batch, learner, first_row, seed)
    if len(label):
        where = f"{at.epoch}, batch {at.n_batches + 1}"
        at.total_loss += len(label) * _learn_batch(learner, codes, label, where)
        at.n_learnt += len(label)


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


def _require_finite(learner: Any, where: str) -> None:
    """Raise DivergenceError for a weight that overflowed where no later row of the epoch met it."""
    held = [array for array in vars(core_of(learner)).values() if isinstance(array, np.ndarray)]
    floats = [array for array in held if array.dtype.kind == "f" and array.size]
    if not all(np.isfinite([array.min(), array.max()]).all() for array in floats):
        raise _diverged(learner, where)


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
        f"training of {type(core_of(learner)).__name__} diverged ({where}): a loss or weight is not finite; "
        "lower the learning rate (alpha of ftrl, eta0 of sgd, factor_alpha of fm)"
    )


def refresh(learner: Any, rows: Rows, *, seed: int = 0) -> None:
    """Let a learner pass over more rows once: those it was chosen by, so that it has seen the newest.

    Afterwards they judge it no longer. Rows without a click are left out as they were in training.
    """
    _pass(learner, rows, Position(), seed)
