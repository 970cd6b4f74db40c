"""The profile of a log, from one pass over it: the numbers that the data contract is checked against."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tasks.logs.intake.row_hash import codes_of
from tasks.logs.log import Log, ticks_of
from tasks.schema import Field, Schema

_EXAMPLES = 5
_MAX_SEEN = 200_000
_FEW = 10_000  # numbers of a batch that are enough to see that they vary


@dataclass
class FieldProfile:
    """The values of one field: in how many rows they are missing or break the pattern, with examples of those."""

    spec: Field
    n_missing: int = 0
    n_outside: int = 0
    outside: Counter[str] = field(default_factory=Counter)
    distinct_share: float = 0.0  # distinct values per row of the first batch
    is_numeric: bool = False  # whether all of those are numbers
    is_constant: bool = True
    _n_batches: int = field(default=0, repr=False)
    _seen: set[str] = field(default_factory=set, repr=False)
    _first: str | float | None = field(default=None, repr=False)

    def add(self, column: pa.Array) -> None:
        """Count a batch of rows."""
        self.n_missing += column.null_count
        if not pa.types.is_dictionary(column.type):
            self._watch_constant(pc.unique(column.drop_null().slice(0, _FEW)))
            return
        values = column.dictionary
        if not self._n_batches and self.spec.kind == "category":
            self._watch_distinct(values, len(column))
        self._n_batches += 1
        self._watch_constant(values)
        if self.spec.pattern is not None and (wrong := self._outside(values)):
            counts = _counts(column)
            for code, value in enumerate(values.to_pylist()):
                if value in wrong and counts[code]:
                    self.n_outside += int(counts[code])
                    if value in self.outside or len(self.outside) < _EXAMPLES:
                        self.outside[value] += int(counts[code])

    def _watch_constant(self, values: pa.Array) -> None:
        if not self.is_constant or not len(values):
            return
        if self._first is None:
            self._first = values[0].as_py()
        self.is_constant = len(values) == 1 and values[0].as_py() == self._first

    def _watch_distinct(self, values: pa.Array, n_rows: int) -> None:
        self.distinct_share = len(values) / max(1, n_rows)
        try:
            values.cast(pa.float64())
            self.is_numeric = True
        except pa.ArrowInvalid:
            self.is_numeric = False

    def _outside(self, values: pa.Array) -> set[str]:
        """Return the values that break the pattern; a distinct value is matched once (while they are few)."""
        new = [
            value for value in values.to_pylist() if value is not None and value not in self._seen
        ]
        if new:
            wrong = values_outside(new, str(self.spec.pattern))
            self._known_wrong |= wrong
            if len(self._seen) < _MAX_SEEN:
                self._seen.update(set(new) - wrong)
        return self._known_wrong

    def __post_init__(self) -> None:
        self._known_wrong: set[str] = set()


def _counts(column: pa.DictionaryArray) -> np.ndarray:
    codes = codes_of(column)
    return np.bincount(codes[codes >= 0], minlength=len(column.dictionary))


def values_outside(values: list[str], pattern: str) -> set[str]:
    """Return the values that do not match the whole pattern, as Pandera finds them.

    Examples
    --------
    >>> sorted(values_outside(["1", "x", "12"], "[0-9]"))
    ['12', 'x']
    """
    import pandera.pandas as pandera

    frame = pd.DataFrame({"value": pd.Series(values, dtype="str")})
    contract = pandera.DataFrameSchema(
        {"value": pandera.Column(checks=pandera.Check.str_matches(rf"^(?:{pattern})\Z"))}
    )
    try:
        contract.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        return set(error.failure_cases["failure_case"])
    return set()


@dataclass
class LogProfile:
    """What the checks need to know about a log."""

    n_rows: int = 0
    n_clicks: int = 0
    ctr: float = 0.0  # of impressions, if rows have weights
    n_bad_labels: int = 0
    n_bad_truths: int = 0
    n_out_of_order: int = 0
    types: dict[str, str] = field(default_factory=dict)
    fields: dict[str, FieldProfile] = field(default_factory=dict)

    @property
    def missing_shares(self) -> dict[str, float]:
        """Share of rows without a value, of each field."""
        n_rows = max(1, self.n_rows)
        return {name: item.n_missing / n_rows for name, item in self.fields.items()}


def profile_log(log: Log, schema: Schema) -> LogProfile:
    """Return the profile of a log, which is read once, batch by batch."""
    profile = LogProfile(fields={spec.name: FieldProfile(spec) for spec in schema.fields})
    last_tick = np.empty(0, dtype=np.int64)
    truth = schema.truth if schema.truth in log.columns else None
    weight, weight_clicks = 0.0, 0.0
    for batch in log.batches(batch_rows=1 << 20):
        profile.n_rows += batch.num_rows
        for item in batch.schema:
            profile.types.setdefault(item.name, str(item.type))
        labels = batch.column(schema.label).to_numpy(zero_copy_only=False)
        profile.n_clicks += int((labels == 1).sum())
        weights = np.ones(labels.size)
        if schema.weight_column in batch.schema.names:
            weights = batch.column(schema.weight_column).to_numpy(zero_copy_only=False)
        weight += float(weights.sum())
        weight_clicks += float(weights[labels == 1].sum())
        profile.n_bad_labels += int(((labels != 0) & (labels != 1)).sum())
        ticks = np.append(last_tick, ticks_of(batch.column(schema.time_column)))
        profile.n_out_of_order += int((np.diff(ticks) < 0).sum())
        last_tick = ticks[-1:]
        for name, found in profile.fields.items():
            found.add(batch.column(name))
        if truth:
            p_true = batch.column(truth).to_numpy(zero_copy_only=False)
            profile.n_bad_truths += int((~((p_true >= 0) & (p_true <= 1))).sum())
    profile.ctr = weight_clicks / weight if weight else 0.0
    return profile
