"""Converts running totals of a model's scorer and reader to counters by field."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from bentos.ctr.metrics.series import Metrics

STATES = ("missing", "unseen", "seen")


class ModelCounts:
    """The counters of the model that serves under one name, whatever its version.

    After a swap a new scorer counts from 0; the old one is then read once more, so that nothing is
    lost.
    """

    def __init__(self, metrics: Metrics, name: str):
        self._name = name
        self._families = metrics.field_values
        self._unknown = metrics.unknown_fields.labels(name)
        self._fields: dict[str, list[Any]] = {}
        self._failures = metrics.feature_failures
        self._failed: dict[str, Any] = {}
        self._items = metrics.items_left_out
        self._left_out: dict[str, Any] = {}
        self._loaded: Any = None
        self._last = _NOTHING

    def flush(self, loaded: Any) -> None:
        """Add what `loaded`, a model of the serving state, counted since the last flush."""
        if loaded is not self._loaded:
            if self._loaded is not None:
                self._add_new()
            self._loaded, self._last = loaded, _NOTHING
        self._add_new()

    def _add_new(self) -> None:
        last, now = self._last, _read(self._loaded)
        self._last = now
        _add(self._unknown, now.n_unknown - last.n_unknown)
        for feature, n_failed in now.failed.items():
            if feature not in self._failed:
                self._failed[feature] = self._failures.labels(self._name, feature)
            _add(self._failed[feature], n_failed - last.failed.get(feature, 0))
        for field, n_items in now.left_out.items():
            if field not in self._left_out:
                self._left_out[field] = self._items.labels(self._name, field)
            _add(self._left_out[field], n_items - last.left_out.get(field, 0))
        n_rows = now.n_rows - last.n_rows
        for field, (missing, unseen) in now.fields.items():
            was_missing, was_unseen = last.fields.get(field, (0, 0))
            missing, unseen = missing - was_missing, unseen - was_unseen
            counts = (missing, unseen, n_rows - missing - unseen)
            for counter, count in zip(self._counters(field), counts, strict=True):
                _add(counter, count)

    def _counters(self, field: str) -> list[Any]:
        if field not in self._fields:
            labels = [(self._name, field, state) for state in STATES]
            self._fields[field] = [self._families.labels(*values) for values in labels]
        return self._fields[field]


class _Totals(NamedTuple):
    """Totals of a scorer and a reader since their creation; (missing, unseen) by field, failures by feature."""

    n_rows: int
    n_unknown: int
    fields: dict[str, tuple[int, int]]
    failed: dict[str, int]
    left_out: dict[str, int]


_NOTHING = _Totals(0, 0, {}, {}, {})


def _read(loaded: Any) -> _Totals:
    scorer = loaded.scorer
    n_unknown = int(loaded.reader.unknown)
    counted = dict(_fields(scorer)), scorer.failed, scorer.left_out
    return _Totals(int(scorer.n_rows), n_unknown, *counted)


def _fields(scorer: Any) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield each name of a token with its totals; of a list, those of its first item."""
    columns = scorer.model.contract.columns_of_token_fields
    names = list(columns)[: len(scorer.missing)]  # a cross is never missing
    missing = dict(zip(names, scorer.missing.tolist(), strict=True)) | scorer.missing_lists
    unseen = scorer.unseen
    for name, places in columns.items():
        yield name, (missing.get(name, 0), int(unseen[places.start]))


def _add(counter: Any, amount: int) -> None:
    if amount > 0:
        counter.inc(amount)
