"""The service's metric families, and bounds on the number of their label values."""

import threading
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")

OTHER = "other"  # the label of values beyond the bound
_SECONDS = (
    *(1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3),
    *(2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 1e-1, 2.5e-1, 1.0),
)


class Metrics:
    """The metric families, registered on construction: once per process and registry.

    ``prometheus_client`` decides on import whether values are shared between processes, by
    PROMETHEUS_MULTIPROC_DIR; BentoML sets that in its workers before anything is imported.
    """

    def __init__(self, registry: Any = None):
        import prometheus_client

        registry = registry or prometheus_client.REGISTRY

        def counter(name: str, about: str, *labels: str) -> Any:
            return prometheus_client.Counter(name, about, labels, registry=registry)

        def gauge(name: str, about: str, mode: Any, *labels: str) -> Any:
            # "live": a worker that died no longer counts
            return prometheus_client.Gauge(
                name, about, labels, registry=registry, multiprocess_mode=mode
            )

        self.request_seconds = prometheus_client.Histogram(
            "ctr_request_seconds",
            "Time from a request's head to its answer, for answered requests",
            ["call"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.requests = counter(
            "ctr_requests", "Requests; outcome is the HTTP status", "call", "variant", "outcome"
        )
        self.predicted_clicks = counter(
            "ctr_predicted_clicks", "Sum of the probabilities answered", "variant"
        )
        self.scored = counter("ctr_scored", "Probabilities answered", "variant")
        self.field_values = counter(
            "ctr_field_values",
            "Values read: missing, unseen (the model learned no weight for it) or seen",
            *("model", "field", "state"),
        )
        self.feature_failures = counter(
            "ctr_feature_failures", "Inputs on which a feature failed", "model", "feature"
        )
        about = "Items of lists beyond the maximum"
        self.items_left_out = counter("ctr_items_left_out", about, "model", "field")
        self.unknown_fields = counter(
            "ctr_unknown_fields", "Keys that are no column of the schema", "model"
        )
        self.model_age = gauge(
            "ctr_model_age_seconds", "Time since the model was trained", "livemax", "model"
        )
        self.model_info = gauge(
            "ctr_model_info", "Workers that serve this version", "livesum", "model", "version"
        )
        self.model_swaps = counter("ctr_model_swaps", "Swaps to another version", "model")
        self.model_refusals = counter(
            "ctr_model_refusals", "New versions that were refused", "model", "reason"
        )
        self.source_errors = counter("ctr_source_errors", "Failed polls of a source", "model")
        self._add_exposures(counter, gauge)

    def _add_exposures(self, counter: Callable[..., Any], gauge: Callable[..., Any]) -> None:
        self.exposures_queued = gauge(
            "ctr_exposures_queued",
            "Rows waiting to be written; a ranking has one per candidate",
            "livesum",
        )
        about = "Files of exposures with lines that cannot be converted"
        self.exposures_set_aside = counter("ctr_exposures_set_aside", about)
        about = "Exposures dropped because the queue was full or the line too long"
        self.exposures_dropped = counter("ctr_exposures_dropped", about)
        self.exposures_written = counter("ctr_exposures_written", "Exposures written")
        self.exposures_failed = counter("ctr_exposures_failed", "Writes of exposures that failed")


class Bounded(Generic[Key, Made]):
    """Creates one value per key on first use; beyond `bound` keys, all share the value of `other`."""

    def __init__(self, make: Callable[[Key], Made], bound: int, other: Key):
        self._make, self._bound, self._other = make, bound, other
        self._known: dict[Key, Made] = {}
        self._lock = threading.Lock()

    def __getitem__(self, key: Key) -> Made:
        found = self._known.get(key)
        return self._add(key) if found is None else found

    def _add(self, key: Key) -> Made:
        with self._lock:
            if len(self._known) >= self._bound:
                key = key if key in self._known else self._other
            if key not in self._known:
                self._known[key] = self._make(key)
            return self._known[key]

    def made(self) -> list[Made]:
        """Return the values created so far."""
        return list(self._known.values())
