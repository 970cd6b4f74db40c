"""The state of a training run: the epochs done, the best of them, and the position in the next one."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import pandas as pd


@dataclass(frozen=True)
class Epoch:
    """One pass; losses in nats, the training loss progressive: rows are predicted before they are learned.

    With a `negative_rate` below 1 the training loss is that of the sampled rows: another click rate, so
    not comparable with the validation loss.
    """

    epoch: int
    train_log_loss: float
    valid_log_loss: float
    valid_roc_auc: float
    seconds: float


class History(NamedTuple):
    """The epochs of a training run; the learner holds the weights of `best_epoch` (counted from 1)."""

    epochs: tuple[Epoch, ...]
    best_epoch: int
    best_log_loss: float

    def to_frame(self) -> pd.DataFrame:
        """Return one row per epoch: ``epoch``, ``train_log_loss``, ``valid_log_loss``, ``valid_roc_auc``, ``seconds``."""
        return pd.DataFrame([asdict(epoch) for epoch in self.epochs])


@dataclass
class TrainingState:
    """What a training run needs to resume, besides the learner."""

    epoch: int = 1
    n_batches: int = 0  # learned in this epoch
    n_learned: float = (
        0  # rows of those batches that were not sampled away, by their weights if they have some
    )
    total_loss: float = 0.0  # of those rows
    seconds: float = 0.0  # of this epoch
    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = math.inf
    best_snapshot: Any = None

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "TrainingState":
        """Return the state that :meth:`to_dict` wrote."""
        return cls(**{**saved, "epochs": [Epoch(**epoch) for epoch in saved["epochs"]]})

    def to_dict(self) -> dict[str, Any]:
        """Return the content of a checkpoint."""
        return {**vars(self), "epochs": [asdict(epoch) for epoch in self.epochs]}

    def is_over(self, max_epochs: int, patience: int) -> bool:
        """Return whether no further epoch is due."""
        n_done = len(self.epochs)
        return n_done >= max_epochs or n_done - self.best_epoch >= patience

    def end_epoch(self, learner: Any, *, is_last: bool) -> None:
        """Record the last epoch as best if it improved, and advance to the next."""
        done = self.epochs[-1]
        if done.valid_log_loss < self.best_loss:
            self.best_loss, self.best_epoch = done.valid_log_loss, done.epoch
            self.best_snapshot = None if is_last else learner.snapshot()
        self.epoch, self.n_batches, self.n_learned = self.epoch + 1, 0, 0
        self.total_loss = self.seconds = 0.0
