"""Divergence: a loss or weight that is not finite becomes an error that names where it happened."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tasks.errors import ClicklabError, DivergenceError
from tasks.training.checkpoint import local_learner
from tasks.training.history import TrainingState


@contextmanager
def overflow_as_divergence(learner: Any, state: TrainingState) -> Iterator[None]:
    """Turn scikit-learn's words for weights that overflowed into a DivergenceError."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, ClicklabError) or "overflow" not in str(error):
            raise
        raise diverged(learner, f"epoch {state.epoch}, batch {state.n_batches + 1}") from None


def require_finite(learner: Any, where: str) -> None:
    """Raise DivergenceError for a weight that overflowed where no later row of the epoch met it."""
    held = [
        array for array in vars(local_learner(learner)).values() if isinstance(array, np.ndarray)
    ]
    floats = [array for array in held if array.dtype.kind == "f" and array.size]
    if not all(np.isfinite([array.min(), array.max()]).all() for array in floats):
        raise diverged(learner, where)


def diverged(learner: Any, where: str) -> DivergenceError:
    """Return the error for a loss or weight that is not finite; `where` names epoch and batch."""
    core = local_learner(learner)
    rates = " and ".join(core.learning_rates)
    return DivergenceError(
        f"training of {type(core).__name__} diverged ({where}): a loss or weight is not finite; "
        f"lower the learning rate{f' ({rates})' if rates else ''}"
    )
