"""A training loop over epochs and batches; sampling, early stopping and checkpoints are the iterators' work.

with Training(learner, train, valid, max_epochs=8) as run:
    for epoch in run.epochs():                           # until validation log loss stops improving
        for rows in epoch.batches():             # in time order: codes, labels, weights where the log has them
            run.learner.partial_fit_codes(*rows)  # predicts each row, then learns from it
        epoch.finish(*validate(run.learner, run.valid))
"""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from tasks.errors import ConfigError, InputError
from tasks.models.predict import Rows
from tasks.storage.progress import report
from tasks.training.checkpoint import Checkpoint, local_learner, state_digest
from tasks.training.divergence import diverged, overflow_as_divergence, require_finite
from tasks.training.history import Epoch, History, TrainingState
from tasks.training.sampling import checked_rate, rates_of, sample_batch, weight_of

Progress = Callable[[int, int, int], None]


class Training:
    """One training run, as a context manager; on leaving, the learner holds its best epoch.

    Parameters
    ----------
    learner
        With ``meet``, ``partial_fit_codes``, ``decision_codes``, ``loss_``, ``snapshot``, ``restore``.
    train, valid
        Feature sets; `valid` is later in time. Without one, all `max_epochs` passes are made and the last is kept.
    max_epochs
        Maximum number of passes, 1 or more.
    patience
        Stop after this many epochs without a better validation log loss, 1 or more.
    negative_rate
        Probability of keeping a training row without a click, above 0 and up to 1; the same rows in every
        epoch. The learner's probabilities, and those of the model saved from it, are corrected
        (:class:`tasks.models.learner.Learner`); validation uses every row.
    seed
        Which rows are sampled away.
    engine
        ``local``, or a Dask cluster as in ``env.yaml`` (:mod:`tasks.cluster`).
    n_shards
        Shards of the work on a cluster; None is the number of workers.
    progress
        Called after each batch with the epoch, rows done in it, and rows in all; the terminal and JupyterLab show
        them in any case (:mod:`tasks.storage.progress`).
    on_epoch
        Called after each epoch; an exception it raises ends the training.
    checkpoint
        A file to resume from if it exists and fits, and to leave for the next run: written after an
        epoch and every half minute within one, within 2% of the training time. A resumed run ends with
        the weights and losses of an uninterrupted one. The file stays, so that a run killed later need
        not train again; delete it when the model is saved. Needs feature sets.

    Attributes
    ----------
    learner, train, valid
        What the loop works with; on a cluster they stand for the workers' copies.
    history
        The epochs so far, and which of them was best.
    parameters
        What the result depends on besides the rows: the learner's parameters and these options, defaults too.

    Raises
    ------
    ConfigError
        If `max_epochs`, `patience`, `negative_rate` or `engine` is out of its domain, or rows have weights and the
        learner takes none.
    InputError
        If there are no training rows, or no validation rows.
    DivergenceError
        If a loss or weight is not finite; the message names epoch and batch.
    DiskFullError
        If there is no room for the checkpoint.
    """

    def __init__(
        self,
        learner: Any,
        train: Any,
        valid: Any,
        *,
        max_epochs: int = 5,
        patience: int = 1,
        negative_rate: float = 1.0,
        seed: int = 0,
        engine: Any = "local",
        n_shards: int | None = None,
        progress: Progress | None = None,
        on_epoch: Callable[[Epoch], None] | None = None,
        checkpoint: str | Path | None = None,
    ):
        _check(train, valid, max_epochs, patience)
        learner.negative_rate_ = checked_rate(negative_rate)
        learner.meet(train.contract)
        self.learner, self.train, self.valid = learner, train, valid
        self.state = TrainingState()
        self.checkpoint: Checkpoint | None = None
        self.seed, self.progress, self._on_epoch = seed, progress, on_epoch
        if learns_at_the_end(learner):  # all at once: nothing to repeat, to resume or to share out
            max_epochs, checkpoint = 1, None
            if engine not in ("local", None):
                raise ConfigError(f"{learner.kind} learns in one process; set `engine: local`")
        self._max_epochs, self._patience = max_epochs, patience
        self._options: dict[str, Any] = {
            "max_epochs": max_epochs,
            "patience": patience,
            "negative_rate": negative_rate,
            "seed": seed,
            "engine": "dask" if isinstance(engine, Mapping) else engine or "local",
        }
        self._unlearned = copy.deepcopy(learner)
        self._given, self._engine, self._n_shards = learner, engine, n_shards
        self._path, self._stack = checkpoint, ExitStack()

    def __enter__(self) -> "Training":
        with self._stack:
            if self._engine not in ("local", None):
                self._distribute()
            if self._path is not None:
                self._resume(self._path)
            self._stack.enter_context(overflow_as_divergence(self.learner, self.state))
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None and 0 < self.state.best_epoch < len(self.state.epochs):
            self.learner.restore(self.state.best_snapshot)
        if self.learner is not self._given:
            vars(self._given).update(vars(local_learner(self.learner)))
            self.learner = self._given
        self._stack.__exit__(kind, error, traceback)

    def epochs(self) -> Iterator["Pass"]:
        """Yield one pass over the training rows after another, until validation stops improving."""
        patience = self._patience if self.valid is not None else self._max_epochs
        while not self.state.is_over(self._max_epochs, patience):
            n_done = len(self.state.epochs)
            yield Pass(self.learner, self.train, self.state, seed=self.seed, run=self)
            if len(self.state.epochs) == n_done:
                raise RuntimeError("each epoch must end with finish(valid_log_loss, valid_roc_auc)")

    @property
    def parameters(self) -> dict[str, Any]:
        learner = local_learner(self.learner)
        own = learner.get_params()
        own.pop("n_epochs", None)  # only `fit` uses it
        return {"kind": learner.kind, **own, **self._options}

    def anew(self, rows: Any, *, checkpoint: str | Path | None = None) -> "Training":
        """Return a training of the learner as it was given, on other rows, for the best number of epochs of this one."""
        options = {key: self._options[key] for key in ("negative_rate", "seed")}
        return Training(
            copy.deepcopy(self._unlearned),
            rows,
            None,
            max_epochs=max(1, self.state.best_epoch),
            engine=self._engine,
            n_shards=self._n_shards,
            progress=self.progress,
            checkpoint=checkpoint,
            **options,
        )

    @property
    def history(self) -> History:
        state = self.state
        return History(tuple(state.epochs), state.best_epoch, state.best_loss)

    def end_epoch(self, epoch: Epoch) -> None:
        """Record an epoch; the best one so far is remembered, and a checkpoint is written when due."""
        self.state.epochs.append(epoch)
        if self._on_epoch is not None:
            self._on_epoch(epoch)
        self.state.end_epoch(self.learner, is_last=epoch.epoch == self._max_epochs)
        self.save_if_due()

    def save_if_due(self, *, within_epoch: bool = False) -> None:
        """Write a checkpoint when one is due."""
        if self.checkpoint is not None:
            self.checkpoint.save_if_due(
                self.learner, self.state.to_dict(), within_epoch=within_epoch
            )

    def tell(self, n_read: int, n_rows: int) -> None:
        """Report how far the epoch is."""
        state = self.state
        loss = state.total_loss / state.n_learned if state.n_learned else None
        report(n_read, n_rows, epoch=(state.epoch, self._max_epochs), loss=loss)
        if self.progress is not None:
            self.progress(state.epoch, n_read, n_rows)

    def _distribute(self) -> None:
        from tasks.cluster.training import distribute

        self.learner, self.train, self.valid = self._stack.enter_context(
            distribute(
                self._engine,
                self.learner,
                self.train,
                self.valid,
                n_shards=self._n_shards,
                seed=self.seed,
            )
        )

    def _resume(self, path: str | Path) -> None:
        knobs = {"max_epochs": self._max_epochs, "patience": self._patience, "seed": self.seed}
        identity = _identity(self.learner, self.train, self.valid)
        self.checkpoint = Checkpoint(path, of=identity | knobs)
        saved = self.checkpoint.load(self.learner)
        if saved is not None:
            self.state = TrainingState.from_dict(saved)


class Pass:
    """One pass over rows, from where the state says."""

    def __init__(
        self,
        learner: Any,
        rows: Rows,
        state: TrainingState,
        *,
        seed: int,
        run: Training | None = None,
    ):
        self._learner, self._rows, self._state = learner, rows, state
        self._seed, self._run = seed, run
        self._number = state.epoch
        self._since = time.perf_counter() - state.seconds

    @property
    def number(self) -> int:
        """The epoch, counted from 1."""
        return self._number

    def batches(self) -> Iterator[tuple[Any, ...]]:
        """Yield codes, labels and, where the log has them, weights; when more is asked for, the last must be learned."""
        state, n_read = self._state, 0
        for number, batch in enumerate(self._rows.batches(), start=1):
            first_row, n_read = n_read, n_read + len(batch.label)
            if number <= state.n_batches:
                continue  # learned before the checkpoint
            rows = sample_batch(batch, first_row, **rates_of(self._learner), seed=self._seed)
            if len(rows[1]):
                yield rows
                self._add_loss(weight_of(rows))
            state.n_batches, state.seconds = number, time.perf_counter() - self._since
            self._after_batch(n_read)
        if not state.n_learned:
            raise InputError(
                f"negative_rate {self._learner.negative_rate_:g} left none of {n_read:,} rows to learn from; raise it"
            )
        if learns_at_the_end(self._learner):
            self._learner.end_pass()
            state.total_loss = state.n_learned * self._learner.loss_
        require_finite(self._learner, f"epoch {state.epoch}, by batch {state.n_batches}")

    def finish(self, valid_log_loss: float = math.nan, valid_roc_auc: float = math.nan) -> Epoch:
        """End the epoch with its validation results, if there are any, which decide whether it is the best so far."""
        state = self._state
        train_log_loss = state.total_loss / state.n_learned
        seconds = time.perf_counter() - self._since
        epoch = Epoch(state.epoch, train_log_loss, valid_log_loss, valid_roc_auc, seconds)
        is_judged = self._run is None or self._run.valid is not None
        if is_judged and not math.isfinite(valid_log_loss):
            raise diverged(self._learner, f"validation after epoch {state.epoch}")
        if self._run is not None:
            self._run.end_epoch(epoch)
        return epoch

    def _add_loss(self, n_rows: float) -> None:
        state, loss = self._state, self._learner.loss_
        if learns_at_the_end(self._learner):
            loss = 0.0  # known when the pass has ended
        if not math.isfinite(loss):
            raise diverged(self._learner, f"epoch {state.epoch}, batch {state.n_batches + 1}")
        state.total_loss += n_rows * loss
        state.n_learned += n_rows

    def _after_batch(self, n_read: int) -> None:
        if self._run is None:
            return
        self._run.save_if_due(within_epoch=True)
        self._run.tell(n_read, self._rows.n_rows)


def learns_at_the_end(learner: Any) -> bool:
    """Return whether a learner keeps the rows of a pass and learns them all at once."""
    return getattr(learner, "learns_at_the_end", False)


def _check(train: Rows, valid: Rows | None, max_epochs: int, patience: int) -> None:
    for name, value in (("max_epochs", max_epochs), ("patience", patience)):
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"training: {name} must be an integer of at least 1, found {value!r}")
    for name, rows in (("train", train), ("valid", valid)):
        if rows is not None and not rows.n_rows:
            raise InputError(
                f"the {name} part has no rows; take more of the log or other split shares"
            )


def _identity(learner: Any, train: Any, valid: Any) -> dict[str, Any]:
    """Return what identifies a checkpoint: the rows, by the digests of their plans, and the initial learner."""
    core = local_learner(learner)
    return {
        "rows": [rows.manifest["digest"] for rows in (train, valid) if rows is not None],
        "learner": type(core).__name__,
        "params": core.get_params(),
        "learned": state_digest(core),
        "n_shards": getattr(learner, "n_shards", 1),
    }
