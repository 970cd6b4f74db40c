"""How a contestant is tuned and timed: the best of its settings by validation log loss, trained anew on train and validation rows."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from bench.quality.rows import Fold, Part
from bench.shapes import distance
from tasks.evaluation.metrics import log_loss

Setting = Mapping[str, Any]
Predict = Callable[[Part], np.ndarray]


class Fitted(NamedTuple):
    """A trained model, and the processor time of its training in seconds, of all threads and children."""

    predict: Predict
    cpu_s: float


class Contestant(Protocol):
    """What takes part.

    Attributes
    ----------
    key, label
        Its name in results, and in tables.
    ours
        Whether it is ours.
    settings
        What is tried on the validation rows.
    """

    key: str
    label: str
    ours: bool
    settings: Sequence[Setting]

    def trial(self, setting: Setting, fold: Fold) -> tuple[float, int]:
        """Return the best validation log loss (nats) of a setting, and after how many passes (or trees)."""

    def fit(self, setting: Setting, n_passes: int, rows: Part, fold: Fold) -> Fitted:
        """Return a model of these rows, trained from scratch."""


def judge(contestant: Contestant, fold: Fold) -> dict[str, Any]:
    """Return a contestant's test log loss (nats), distance to the truth, processor time and chosen setting on a fold."""
    since = time.perf_counter()
    trials = [(*contestant.trial(setting, fold), setting) for setting in contestant.settings]
    valid_log_loss, n_passes, setting = min(trials, key=lambda one: one[0])
    model = contestant.fit(setting, n_passes, fold.train.then(fold.valid), fold)
    p_click = np.asarray(model.predict(fold.test), dtype=np.float64)
    p_true = fold.test.p_true
    return {
        "contestant": contestant.key,
        "log_loss": log_loss(fold.test.label, p_click),
        "distance": None if p_true is None else distance(p_true, p_click),
        "cpu_s": model.cpu_s,
        "valid_log_loss": valid_log_loss,
        "setting": dict(setting),
        "n_passes": n_passes,
        "n_settings": len(trials),
        "wall_s_with_search": time.perf_counter() - since,
    }


def grid(**choices: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    """Return every combination.

    >>> grid(alpha=[1, 2], l1=[0])
    ({'alpha': 1, 'l1': 0}, {'alpha': 2, 'l1': 0})
    """
    return tuple(dict(zip(choices, one, strict=True)) for one in itertools.product(*choices.values()))  # fmt: skip


def timed(fit: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a function returns, and the processor time of this process meanwhile, in seconds."""
    since = time.process_time()
    found = fit()
    return found, time.process_time() - since


def best_pass(losses: Sequence[float]) -> tuple[float, int]:
    """Return the lowest loss and the number of passes it took.

    >>> best_pass([0.5, 0.4, 0.45])
    (0.4, 2)
    """
    best = int(np.argmin(losses))
    return losses[best], best + 1
