"""What a log holds, gathered in one pass: the numbers that its data contract is judged by."""

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
_REMEMBERED = 200_000


@dataclass
class FieldFacts:
    """One field's values: how many rows have none, how many break the pattern, and examples of those."""

    spec: Field
    n_missing: int = 0
    n_null: int = 0
    n_outside: int = 0
    outside: Counter[str] = field(default_factory=Counter)
    n_distinct_seen: int = 0
    is_constant: bool = True
    _seen: set[str] = field(default_factory=set, repr=False)
    _first: str | None = field(default=None, repr=False)

    def add(self, column: pa.DictionaryArray) -> None:
        """Take a batch of rows into account."""
        values = column.dictionary
        self.n_null += column.null_count
        self._watch_constant(values)
        counts: np.ndarray | None = None
        if self.spec.missing is not None:
            code = pc.index(values, self.spec.missing).as_py()
            if code >= 0:
                counts = _counts(column)
                self.n_missing += int(counts[code])
        if self.spec.pattern is not None and (wrong := self._outside(values)):
            counts = _counts(column) if counts is None else counts
            for code, value in enumerate(values.to_pylist()):
                if value in wrong and counts[code]:
                    self.n_outside += int(counts[code])
                    if value in self.outside or len(self.outside) < _EXAMPLES:
                        self.outside[value] += int(counts[code])

    def _watch_constant(self, values: pa.Array) -> None:
        if not self.is_constant or not len(values):
            return
        self._first = self._first or values[0].as_py()
        self.is_constant = len(values) == 1 and values[0].as_py() == self._first

    def _outside(self, values: pa.Array) -> set[str]:
        """Return the values that break the pattern; each distinct one is tried once (while they are few)."""
        new = [
            value for value in values.to_pylist() if value is not None and value not in self._seen
        ]
        if new:
            wrong = values_outside(new, str(self.spec.pattern))
            self._known_wrong |= wrong
            if len(self._seen) < _REMEMBERED:
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
class Facts:
    """Everything the checks need to know about a log."""

    n_rows: int = 0
    n_clicks: int = 0
    n_bad_labels: int = 0
    n_bad_truths: int = 0
    n_out_of_order: int = 0
    types: dict[str, str] = field(default_factory=dict)
    fields: dict[str, FieldFacts] = field(default_factory=dict)


def gather(log: Log, schema: Schema) -> Facts:
    """Return the facts of a log, read once, batch by batch."""
    facts = Facts(fields={spec.name: FieldFacts(spec) for spec in schema.fields})
    last = None
    truth = schema.truth if schema.truth in log.columns else None
    for batch in log.batches(batch_rows=1 << 20):
        facts.types.update(
            {item.name: str(item.type) for item in batch.schema if item.name not in facts.types}
        )
        labels = batch.column(schema.label).to_numpy(zero_copy_only=False)
        facts.n_rows += batch.num_rows
        facts.n_clicks += int((labels == 1).sum())
        facts.n_bad_labels += int(((labels != 0) & (labels != 1)).sum())
        ticks = ticks_of(batch.column(schema.time_column))
        before = ticks[:1] if last is None else last
        facts.n_out_of_order += int((np.diff(ticks, prepend=before) < 0).sum())
        last = ticks[-1:]
        for name, found in facts.fields.items():
            found.add(batch.column(name))
        if truth:
            p_true = batch.column(truth).to_numpy(zero_copy_only=False)
            facts.n_bad_truths += int((~((p_true >= 0) & (p_true <= 1))).sum())
    return facts
