"""Training on a cluster by iterative parameter averaging, in rounds of one epoch each.

Shard k of S has the parts k, k + S, k + 2S, ... of the training set, in time order. With shards of
whole days instead, only one worker would know the newest campaigns, and averaging would dilute what
it learned of them (measured on 400,000 simulated rows in 4 shards: log loss 0.7% worse, not 0.1%).

The result depends on the number of shards, not on the number of workers or on how work is assigned to them.
"""

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tasks.cluster.averaging import average, copy_for_shard
from tasks.cluster.engine import connect
from tasks.errors import ConfigError, InputError
from tasks.hashing.feature_set import Batch, FeatureSet, read_part
from tasks.training.sampling import rates_of, sample_batch, weight_of

_ATTEMPTS = 3  # Dask reruns the tasks of a dead worker; these cover the loss of the learner itself


class Part(NamedTuple):
    """One file of a feature set, as workers find it."""

    path: str
    n_rows: int
    n_bytes: int
    first_row: int


class _Whole(NamedTuple):
    codes: list[Part]
    label: Any
    weight: Any = None


@contextmanager
def distribute(
    engine: str | Mapping[str, Any],
    learner: Any,
    train: FeatureSet,
    valid: FeatureSet | None,
    *,
    n_shards: int | None = None,
    seed: int = 0,
) -> Iterator[tuple["AveragedLearner", "OneBatch", "OneBatch | None"]]:
    """Yield a learner on a cluster and the feature sets as it takes them, for a training loop as on one machine.

    A round, in which each row is learned once, is an epoch of a single batch.

    Parameters
    ----------
    engine
        As in ``env.yaml``; see :mod:`tasks.cluster.engine`.
    learner
        An estimator with ``partial_fit_codes``, ``decision_codes``, ``loss_``, ``snapshot``, ``restore``
        that can be pickled. Its ``negative_rate_`` applies to the rows of all shards.
    train, valid
        Feature sets on storage that all workers see under the same path; `train` may be several, joined.
    n_shards
        Number of shards, 1 or more, no more than files are used; None is the number of workers. The same
        number gives the same bits.
    seed
        Which rows without a click are sampled away.

    Raises
    ------
    ConfigError
        If `engine` or `n_shards` is out of its domain.
    """
    if n_shards is not None and (not isinstance(n_shards, int) or n_shards < 1):
        raise ConfigError(
            f"training: n_shards must be an integer of at least 1, found {n_shards!r}"
        )
    with connect(engine) as client:
        averaged = AveragedLearner(client, learner, n_shards or len(client.nthreads()), seed=seed)
        judged = None if valid is None else OneBatch(valid, with_labels=True)
        yield averaged, OneBatch(train, with_labels=False), judged


class OneBatch:
    """A feature set as the single batch that an :class:`AveragedLearner` takes: files in place of codes."""

    def __init__(self, features: FeatureSet, *, with_labels: bool):
        self.n_rows, self.manifest = features.n_rows, features.manifest
        self.contract, self._weights = features.contract, None
        self._parts, n_before = [], 0
        for one in getattr(features, "sets", (features,)):
            for part in one.manifest["parts"]:
                path = str(one.folder.resolve() / part["file"])
                self._parts.append(Part(path, part["n_rows"], part["n_bytes"], n_before))
                n_before += part["n_rows"]
        self._labels: Any = range(self.n_rows)  # for its length only; the workers read the labels
        if with_labels and self.n_rows:
            self._labels = np.concatenate([batch.label for batch in features.batches()])
            self._weights = features.weights()

    def batches(self) -> Iterator[_Whole]:
        yield _Whole(self._parts, self._labels, self._weights)


class AveragedLearner:
    """A learner trained by many workers at once; a training loop treats it like any other.

    Parameters
    ----------
    client
        A Dask client.
    learner
        The initial learner.
    n_shards
        Number of shards that files are dealt to, 1 or more.
    seed
        Which rows without a click are sampled away, if the learner's ``negative_rate_`` is below 1.

    Attributes
    ----------
    learner
        The result so far; every round creates a new learner and leaves the old one unchanged.
    loss_
        Mean progressive log loss (nats) of the last round, each shard's rows predicted by its own copy.
    """

    def __init__(self, client: Any, learner: Any, n_shards: int, *, seed: int = 0):
        self._client, self.learner = client, learner
        self.n_shards, self._seed = n_shards, seed
        self._sent: tuple[Any, Any] | None = None
        self.loss_ = float("nan")

    def partial_fit_codes(self, codes: Sequence[Part], y: Any) -> "AveragedLearner":
        """Learn from files once: deal them to shards, train each, average."""
        n_shards = min(self.n_shards, len(codes))
        tasks = [(codes[first::n_shards], n_shards, self._seed) for first in range(n_shards)]
        self.learner, self.loss_ = self._on_workers(
            _fit_shard, tasks, partial(self._average, n_shards)
        )
        return self

    def _average(
        self, n_shards: int, results: Iterable[tuple[Any, float, float]]
    ) -> tuple[Any, float]:
        n_rows: list[float] = []
        losses: list[float] = []

        def with_rows() -> Iterator[tuple[Any, float]]:
            for shard, rows, loss in results:
                n_rows.append(rows)
                losses.append(loss)
                if rows:
                    yield shard, rows

        averaged = average(self.learner, with_rows(), n_shards)
        return averaged, sum(losses) / sum(n_rows)

    def decision_codes(self, codes: Sequence[Part]) -> np.ndarray:
        """Return logits of the rows of files, float64 ``(n_rows,)``, in their order."""
        cuts = np.linspace(0, len(codes), min(self.n_shards, len(codes)) + 1).astype(int)
        tasks = [(codes[first:last],) for first, last in itertools.pairwise(cuts)]
        return self._on_workers(_decide, tasks, lambda results: np.concatenate(list(results)))

    def snapshot(self) -> Any:
        """Return a snapshot of the current learner, for :meth:`restore`."""
        return self.learner.snapshot()

    def restore(self, snapshot: Any) -> None:
        """Restore a snapshot."""
        self.learner = copy.copy(self.learner)
        self.learner.restore(snapshot)

    def _on_workers(
        self,
        work: Callable[..., Any],
        tasks: Sequence[tuple[Any, ...]],
        collect: Callable[..., Any],
    ) -> Any:
        """Send the learner to every worker, run the tasks, and collect their results in order."""
        from dask.distributed import CancelledError

        for attempt in range(1, _ATTEMPTS + 1):
            futures: list[Any] = []
            try:
                everywhere = self._everywhere()
                futures = [
                    self._client.submit(work, everywhere, *task, pure=False) for task in tasks
                ]
                return collect(future.result() for future in futures)
            except CancelledError:  # every worker that held the learner died
                self._sent = None
                if attempt == _ATTEMPTS:
                    raise
            finally:
                self._client.cancel(futures)

    def _everywhere(self) -> Any:
        """Return the learner as a future that all workers hold; it is sent once per round."""
        if self._sent is None or self._sent[0] is not self.learner:
            future = self._client.scatter(self.learner, broadcast=True, hash=False)
            self._sent = self.learner, future
        return self._sent[1]


def _fit_shard(
    learner: Any, parts: Sequence[Part], n_shards: int, seed: int
) -> tuple[Any, float, float]:
    """On a worker: return a copy trained on the parts, the rows it learned (by their weights), and their loss."""
    shard, total, n_rows = copy_for_shard(learner, n_shards), 0.0, 0.0
    for part in parts:
        rows = sample_batch(_read(part), part.first_row, **rates_of(learner), seed=seed)
        if len(rows[1]):
            shard.partial_fit_codes(*rows)
            total += shard.loss_ * weight_of(rows)
            n_rows += weight_of(rows)
    return shard, n_rows, total


def _decide(learner: Any, parts: Sequence[Part]) -> np.ndarray:
    """On a worker: return the logits of the parts."""
    return np.concatenate([learner.decision_codes(_read(part).codes) for part in parts])


def _read(part: Part) -> Batch:
    path = Path(part.path)
    if not path.is_file() or path.stat().st_size != part.n_bytes:
        raise InputError(
            f"{path}: a worker does not find this file as the client does; "
            "features must lie on storage that all machines share"
        )
    return read_part(path)
