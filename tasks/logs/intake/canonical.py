"""Raw rows to rows of the canonical log; rows that cannot be converted are returned with a reason.

One canonical text per value, whatever its type was (:class:`tasks.logs.value_text.FieldText`); null
where it is missing. CSV and Parquet of the same log therefore become the same rows.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.logs.intake.csv_block import RawRows
from tasks.logs.intake.labels import Blame, LabelReader, rows_of
from tasks.logs.intake.times import NOT_A_TIME, TimeParser
from tasks.logs.intake.values import codes, floats, numbers, texts
from tasks.logs.log import TIME, arrow_schema
from tasks.logs.value_text import ITEM_MARK, FieldText
from tasks.schema import Field, Schema

TIME_BAD, ID_EMPTY, TRUTH = (
    "time cannot be parsed",
    "empty id",
    "known probability is not in [0, 1]",
)
NUMBER, PATTERN = "{} is not a number", "{} does not match its pattern"
_MAX_KNOWN = 200_000


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is not in the log: its place, the reason, the offending value, and the whole text."""

    file: str
    row: int
    reason: str
    value: str
    text: str


@dataclass(frozen=True)
class CanonicalRows:
    """Good rows as a batch of the log, where each stood in its file, the bad ones, and how many raw rows were good."""

    batch: pa.RecordBatch
    numbers: np.ndarray
    bad: list[BadRow]
    n_good: int


class Canonicalizer:
    """Turns raw rows into canonical ones; each distinct time is parsed once.

    Attributes
    ----------
    stripped
        The fields of which blanks were taken off so far.
    """

    def __init__(self, schema: Schema, *, has_truth: bool):
        self._schema = schema
        self._times = TimeParser(schema)
        self._labels = LabelReader(schema)
        self._arrow = arrow_schema(schema, has_truth=has_truth)
        self._has_truth = has_truth
        self._fields = [(spec, FieldText(schema, spec), _Pattern(spec)) for spec in schema.fields]
        self._n_rows = 0
        self.stripped: dict[str, None] = {}

    def __call__(self, raw: RawRows) -> CanonicalRows:
        """Return good and bad rows of a batch; InputError if a column's type holds no values."""
        schema = self._schema
        clicks = self._labels(raw.columns, raw.file)
        blame = [*clicks.blame]
        ready: dict[str, pa.Array] = {}
        ready[schema.time_column] = self._time(raw, blame)
        self._add_id_and_truth(raw, ready, blame)
        for spec, rule, pattern in self._fields:
            ready[spec.name] = self._field(raw, spec, rule, pattern, blame)
        self._n_rows += len(raw.numbers)
        none = np.zeros(len(raw.numbers), dtype=bool)
        wrong = np.logical_or.reduce([none, *(mask for mask, _, _ in blame)])
        bad = sorted([*_bad_lines(raw), *_bad_rows(raw, wrong, blame)], key=lambda found: found.row)
        rows, label, weight = rows_of(clicks, ~wrong)
        ready[schema.label] = pa.array(label)
        if schema.weight_column:
            ready[schema.weight_column] = pa.array(weight)
        whole = rows.size == wrong.size and not schema.label_form.impressions
        taken = None if whole else pa.array(rows)
        made = {schema.label, schema.weight_column}
        columns = [
            ready[one.name] if taken is None or one.name in made else ready[one.name].take(taken)
            for one in self._arrow
        ]
        batch = pa.RecordBatch.from_arrays(columns, schema=self._arrow)
        return CanonicalRows(batch, raw.numbers[rows], bad, int((~wrong).sum()))

    def _time(self, raw: RawRows, blame: list[Blame]) -> pa.Array:
        """Return the time of each row; without a time in the log, its number since 1970 in microseconds."""
        columns = [raw.columns[name] for name in self._schema.time.columns]
        if not columns:
            ticks = np.arange(self._n_rows, self._n_rows + len(raw.numbers), dtype=np.int64)
            return pa.array(ticks).view(TIME)
        column = columns[0]
        if len(columns) > 1:
            names = self._schema.time.columns
            parts = [
                pc.utf8_trim_whitespace(texts(one, name, raw.file))
                for one, name in zip(columns, names, strict=True)
            ]
            column = pc.binary_join_element_wise(*parts, " ")
        ticks = self._times.ticks(column, raw.file)
        blame.append((ticks == NOT_A_TIME, TIME_BAD, column))
        return pa.array(ticks).view(TIME)

    def _add_id_and_truth(
        self, raw: RawRows, ready: dict[str, pa.Array], blame: list[Blame]
    ) -> None:
        schema = self._schema
        if schema.id:
            ids = ready[schema.id] = texts(raw.columns[schema.id], schema.id, raw.file)
            empty = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(ids), ""), True)
            blame.append((empty.to_numpy(zero_copy_only=False), ID_EMPTY, ids))
        if self._has_truth and schema.truth:
            column = raw.columns.get(schema.truth, pa.nulls(len(raw.numbers), pa.string()))
            truth = floats(column, schema.truth, raw.file)
            blame.append((~((truth >= 0) & (truth <= 1)), TRUTH, column))
            ready[schema.truth] = pa.array(truth)

    def _field(
        self, raw: RawRows, spec: Field, rule: FieldText, pattern: "_Pattern", blame: list[Blame]
    ) -> pa.Array:
        column = raw.columns[spec.name]
        if spec.kind == "number":
            values, unreadable = numbers(column, rule, spec.name, raw.file)
            if unreadable.any():
                blame.append((unreadable, NUMBER.format(spec.name), column))
            return values
        found, has_blanks = codes(column, rule, spec.name, raw.file)
        if has_blanks:
            self.stripped[spec.name] = None
        outside = pattern.outside(found)
        if outside is not None:
            blame.append((outside, PATTERN.format(spec.name), column))
        return found


class _Pattern:
    """The pattern of a field; each distinct value is matched once, while they are few."""

    def __init__(self, spec: Field):
        self._pattern = None if spec.pattern is None else re.compile(spec.pattern)
        self._known: set[str] = set()

    def outside(self, column: pa.DictionaryArray) -> np.ndarray | None:
        """Return which rows break the pattern, None if no row does; a missing value breaks none."""
        if self._pattern is None:
            return None
        values = column.dictionary.to_pylist()
        new = [text for text in values if text is not None and text not in self._known]
        fit = self._pattern.fullmatch
        wrong = {text for text in new if not all(map(fit, text.split(ITEM_MARK)))}
        if len(self._known) < _MAX_KNOWN:
            self._known.update(set(new) - wrong)
        if not wrong:
            return None
        mask = np.array([*(text in wrong for text in values), False])
        outside = mask[column.indices.fill_null(-1).to_numpy(zero_copy_only=False)]
        return outside if outside.any() else None


def _bad_lines(raw: RawRows) -> Iterator[BadRow]:
    for line in raw.bad:
        yield BadRow(raw.file, line.number, line.reason, line.text[:80], line.text)


def _bad_rows(raw: RawRows, wrong: np.ndarray, blame: list[Blame]) -> Iterator[BadRow]:
    """Yield the rows that are wrong, each with the first reason that applies and the value it blames."""
    for row in np.flatnonzero(wrong).tolist():
        reason, column = next((reason, column) for mask, reason, column in blame if mask[row])
        value = column[row].as_py()
        text = "" if value is None else str(value)
        yield BadRow(raw.file, int(raw.numbers[row]), reason, text, raw.text(row))
