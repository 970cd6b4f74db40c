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
    """Totals of a scorer and a reader since their creation; (missing, unseen) by field."""

    n_rows: int
    n_unknown: int
    fields: dict[str, tuple[int, int]]


_NOTHING = _Totals(0, 0, {})


def _read(loaded: Any) -> _Totals:
    scorer = loaded.scorer
    return _Totals(int(scorer.n_rows), int(loaded.reader.unknown), dict(_fields(scorer)))


def _fields(scorer: Any) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield each column and each token field with its totals."""
    from tasks.hashing.encode import columns_of  # pulls in numba

    contract = scorer.model.contract
    missing = dict(zip(columns_of(contract), scorer.missing.tolist(), strict=True))
    for feature in contract.time_features:
        missing[feature] = missing[contract.time_column]
    unseen = dict(zip(contract.token_fields, scorer.unseen.tolist(), strict=True))
    for field in {**missing, **unseen}:  # a column of time has no token, a cross is never missing
        yield field, (missing.get(field, 0), unseen.get(field, 0))


def _add(counter: Any, amount: int) -> None:
    if amount > 0:
        counter.inc(amount)
