"""Where a training stands: the epochs that are done, the best of them, and how far the next one has come."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import pandas as pd


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
    """What :func:`tasks.training.fit.fit_stream` did; the learner holds the weights of `best_epoch` (counted from 1)."""

    epochs: tuple[Epoch, ...]
    best_epoch: int
    best_log_loss: float

    def to_frame(self) -> pd.DataFrame:
        """Return one row an epoch: ``epoch``, ``train_log_loss``, ``valid_log_loss``, ``valid_auc``, ``seconds``."""
        return pd.DataFrame([asdict(epoch) for epoch in self.epochs])


@dataclass
class Position:
    """Where a training stands: what it needs to go on, beside the learner."""

    epoch: int = 1
    n_batches: int = 0  # learnt in this epoch
    n_learnt: int = 0  # rows of those batches that the learner was shown
    total_loss: float = 0.0  # of those rows
    seconds: float = 0.0  # of this epoch
    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = math.inf
    best_state: Any = None

    @classmethod
    def of(cls, saved: Mapping[str, Any] | None) -> "Position":
        """Return where a checkpoint stands, or the beginning."""
        if saved is None:
            return cls()
        return cls(**{**saved, "epochs": [Epoch(**epoch) for epoch in saved["epochs"]]})

    def saved(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {**vars(self), "epochs": [asdict(epoch) for epoch in self.epochs]}

    def is_over(self, max_epochs: int, patience: int) -> bool:
        """Tell whether there is no further epoch."""
        n_done = len(self.epochs)
        return n_done >= max_epochs or n_done - self.best_epoch >= patience

    def end_epoch(self, learner: Any, *, is_last: bool) -> None:
        """Take the epoch that was just judged for the best if it is, and stand before the next."""
        judged = self.epochs[-1]
        if judged.valid_log_loss < self.best_loss:
            self.best_loss, self.best_epoch = judged.valid_log_loss, judged.epoch
            self.best_state = None if is_last else learner.snapshot()
        self.epoch, self.n_batches, self.n_learnt = self.epoch + 1, 0, 0
        self.total_loss = self.seconds = 0.0
