"""The service's Prometheus metrics; ``/metrics`` sums over all workers.

BentoML gives its workers one folder, PROMETHEUS_MULTIPROC_DIR. Each keeps its values in files there,
and the worker that answers ``/metrics`` sums over all files: a dead worker's counters remain.
"""

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bentos.ctr.metrics.model_counts import ModelCounts
from bentos.ctr.metrics.series import OTHER, Bounded, Metrics

CALLS = ("predict", "rank")
NO_VARIANT = "none"  # of a request refused before it had one
MAX_LABELS = 256  # of each kind; further ones are counted as "other"
_FORGET_EVERY_S = 10.0


class Telemetry:
    """The metrics of one worker; create one per process.

    :meth:`answered` and :meth:`refused` record requests and latency immediately; scores, fields and
    gauges are updated by :meth:`flush`, to be called once per second and at the end.

    Label values are the service's own names, never a client's, and bounded in number.

    Parameters
    ----------
    variants, models
        Names known from the start: their series begin at 0, so that the first increase is visible.
    registry
        For tests, a separate one.

    Examples
    --------
    >>> from prometheus_client import CollectorRegistry
    >>> registry = CollectorRegistry()
    >>> telemetry = Telemetry(variants=["champion"], registry=registry)
    >>> telemetry.answered("predict", "champion", 60e-6, 0.17, 1)
    >>> labels = {"call": "predict", "variant": "champion", "outcome": "200"}
    >>> registry.get_sample_value("ctr_requests_total", labels)
    1.0
    """

    def __init__(
        self, *, variants: Iterable[str] = (), models: Iterable[str] = (), registry: Any = None
    ):
        self.metrics = metrics = Metrics(registry)
        self._answers = Bounded(self._new_answers, MAX_LABELS, (OTHER, OTHER))
        self._refusals = Bounded(self._new_refusal, MAX_LABELS, (OTHER, 0))
        self._models = Bounded(lambda name: _Model(metrics, name), MAX_LABELS, OTHER)
        self._exposures = {"dropped": 0, "written": 0, "failed": 0, "set_aside": 0}
        self._forget_at = 0.0
        for variant in variants:
            self._begin(variant)
        for model in models:
            self._models[model]

    # ---- on the request path

    def answered(
        self, call: str, variant: str, seconds: float, score_sum: float, n_scores: int
    ) -> None:
        """Count an answer, its duration, and the probabilities in it."""
        answers = self._answers[call, variant]
        answers.observe(seconds)
        answers.inc()
        answers.score_sum += score_sum
        answers.n_scores += n_scores

    def refused(self, call: str, status: int) -> None:
        """Count a request that got this HTTP status and no prediction."""
        self._refusals[call, status].inc()

    # ---- when a model changes

    def swapped(self, model_name: str, version: str) -> None:
        """Count a swap to another version of a model."""
        model = self._models[model_name]
        model.swaps.inc()
        model.serves(version)

    def model_refused(self, model_name: str, reason_kind: str) -> None:
        """Count a refused version; `reason_kind` is one of few words."""
        self._models[model_name].refusals[reason_kind].inc()

    def source_unreachable(self, model_name: str) -> None:
        """Count a failed poll of a model's source."""
        self._models[model_name].source_errors.inc()

    # ---- once a second

    def flush(self, state: Any, exposure_log: Any = None) -> None:
        """Update scores, fields, model ages, versions and the exposure log's counts.

        To be called on the thread that scores.

        Parameters
        ----------
        state
            The models that serve and the experiment, or None while there are none.
        exposure_log
            The exposure log, or None.
        """
        for answers in self._answers.made():
            answers.flush()
        if state is not None:
            for variant in state.experiment.variants:
                self._begin(variant.name)
            for name, loaded in state.models.items():
                self._models[name].flush(loaded)
        if exposure_log is not None:
            self._flush_exposures(exposure_log)
        if time.monotonic() >= self._forget_at:
            self._forget_at = time.monotonic() + _FORGET_EVERY_S
            forget_dead_workers()

    def _flush_exposures(self, log: Any) -> None:
        self.metrics.exposures_queued.set(log.depth)
        for name, last in self._exposures.items():
            total = getattr(log, f"n_{name}")
            getattr(self.metrics, f"exposures_{name}").inc(max(total - last, 0))
            self._exposures[name] = total

    # ---- series

    def _begin(self, variant: str) -> None:
        for call in CALLS:
            self._answers[call, variant]

    def _new_answers(self, key: tuple[str, str]) -> "_Answers":
        return _Answers(self.metrics, *key)

    def _new_refusal(self, key: tuple[str, int]) -> Any:
        call, status = key
        return self.metrics.requests.labels(call, NO_VARIANT, str(status or OTHER))


class _Answers:
    """The series of one call and variant, and the scores since the last flush."""

    __slots__ = ("_clicks", "_flushed", "_scored", "inc", "n_scores", "observe", "score_sum")

    def __init__(self, metrics: Metrics, call: str, variant: str):
        self.observe = metrics.request_seconds.labels(call).observe
        self.inc = metrics.requests.labels(call, variant, "200").inc
        self._clicks = metrics.predicted_clicks.labels(variant)
        self._scored = metrics.scored.labels(variant)
        self.score_sum, self.n_scores = 0.0, 0
        self._flushed = (0.0, 0)

    def flush(self) -> None:
        """Add the scores since the last flush."""
        score_sum, n_scores = self.score_sum, self.n_scores
        if n_scores > self._flushed[1]:
            self._clicks.inc(score_sum - self._flushed[0])
            self._scored.inc(n_scores - self._flushed[1])
            self._flushed = (score_sum, n_scores)


class _Model:
    """The series of the model that serves under one name."""

    def __init__(self, metrics: Metrics, name: str):
        self.swaps = metrics.model_swaps.labels(name)
        self.source_errors = metrics.source_errors.labels(name)
        self.refusals = Bounded(
            lambda reason: metrics.model_refusals.labels(name, reason), MAX_LABELS, OTHER
        )
        self._versions = Bounded(
            lambda version: metrics.model_info.labels(name, version), MAX_LABELS, OTHER
        )
        self._age = metrics.model_age.labels(name)
        self._counts = ModelCounts(metrics, name)
        self._version: str | None = None
        self._lock = threading.Lock()

    def flush(self, loaded: Any) -> None:
        """Update the series from the loaded model."""
        self._counts.flush(loaded)
        since = loaded.loaded_at if loaded.trained_at is None else loaded.trained_at
        self._age.set(max(time.time() - since, 0.0))
        self.serves(loaded.version)

    def serves(self, version: str) -> None:
        """Record that this version serves in this worker, and the previous one no longer."""
        with self._lock:  # swaps are reported by another thread than the one that flushes
            if version != self._version:
                if self._version is not None:
                    self._versions[self._version].set(0)
                self._versions[version].set(1)
                self._version = version


def forget_dead_workers() -> None:
    """Remove the gauges of dead workers; a killed worker cannot do it itself."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not folder:
        return
    from prometheus_client.multiprocess import mark_process_dead

    for file in Path(folder).glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not _is_alive(pid):
            mark_process_dead(pid, folder)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
