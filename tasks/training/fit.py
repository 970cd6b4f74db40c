"""A learner trained in one call, validated, and applied to a feature set."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from tasks.evaluation.metrics import log_loss, roc_auc
from tasks.models.scoring import sigmoid
from tasks.training.epochs import Rows, Training
from tasks.training.history import History
from tasks.training.sampling import Joined


def fit_stream(learner: Any, train: Rows, valid: Rows, **options: Any) -> History:
    """Train until validation log loss stops improving, and leave the learner at its best epoch.

    Arguments, options and errors are those of :class:`tasks.training.epochs.Training`.
    """
    with Training(learner, train, valid, **options) as run:
        for epoch in run.epochs():
            for rows in epoch.batches():
                run.learner.partial_fit_codes(*rows)
            epoch.finish(*validate(run.learner, run.valid))
    return run.history


def validate(learner: Any, valid: Rows) -> tuple[float, float]:
    """Return log loss (nats) and AUC on the validation rows; both NaN if a logit is not finite."""
    labels, logits = [], []
    weights: list[np.ndarray] = []
    for batch in valid.batches():
        if (own := getattr(batch, "weight", None)) is not None:
            weights.append(own)
        labels.append(batch.label)
        logits.append(learner.decision_codes(batch.codes))
    logit = np.concatenate(logits)
    if not np.isfinite(logit).all():
        return math.nan, math.nan
    y_true, p_click = np.concatenate(labels), sigmoid(logit)
    weight = np.concatenate(weights) if weights else None
    return log_loss(y_true, p_click, weight), roc_auc(y_true, p_click, weight)


def learn_anew(run: Training, *rows: Any, checkpoint: str | Path | None = None) -> Any:
    """Return the learner of a finished run, trained from scratch for the run's best number of epochs.

    Usually on the training rows and then the validation rows, which are the newest; these are no longer fit to validate
    it. One more pass over them alone would teach the last rows late and once, the others early and often.

    Parameters
    ----------
    run
        A training that has ended.
    *rows
        Feature sets, the oldest first.
    checkpoint
        As for :class:`tasks.training.epochs.Training`.
    """
    return _learn(run.anew(Joined(*rows), checkpoint=checkpoint))


def learn_epochs(learner: Any, rows: Any, **options: Any) -> Any:
    """Return a learner that has learned some rows, without validation; options as :class:`tasks.training.epochs.Training`."""
    return _learn(Training(learner, rows, None, **options))


def _learn(run: Training) -> Any:
    with run:
        for epoch in run.epochs():
            for some in epoch.batches():
                run.learner.partial_fit_codes(*some)
            epoch.finish()
    return run.learner
