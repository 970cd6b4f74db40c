"""A learner trained in one call, validated, and applied to a feature set."""

import math
from typing import Any

import numpy as np

from tasks.evaluation.metrics import log_loss, roc_auc
from tasks.models.scoring import sigmoid
from tasks.training.divergence import overflow_as_divergence
from tasks.training.epochs import Pass, Rows, Training
from tasks.training.history import History, TrainingState


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


def learn_once(learner: Any, rows: Rows, *, seed: int = 0) -> None:
    """Make one more pass over rows, usually the validation rows, so that the learner has seen the newest.

    Afterwards they are no longer fit to validate it. Rows without a click are sampled as in training.
    """
    state = TrainingState()
    with overflow_as_divergence(learner, state):
        for some in Pass(learner, rows, state, seed=seed).batches():
            learner.partial_fit_codes(*some)
