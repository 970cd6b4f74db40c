"""Raw rows to rows of the canonical log; rows that cannot be converted are returned with a reason.

One canonical text per value, whatever its type was (:class:`tasks.logs.value_text.FieldText`); null
where it is missing. CSV and Parquet of the same log therefore become the same rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import InputError
from tasks.logs.intake.csv_block import RawRows
from tasks.logs.intake.times import NOT_A_TIME, TimeParser
from tasks.logs.log import TIME, arrow_schema
from tasks.logs.value_text import FieldText, is_number_type, is_text_type, number_texts
from tasks.schema import Schema

LABEL, TIME_BAD, ID_EMPTY, TRUTH = (
    "label is not 0 or 1",
    "time cannot be parsed",
    "empty id",
    "known probability is not in [0, 1]",
)
NUMBER = "{} is not a number"
_LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1, "False": 0, "True": 1}


Blame = tuple[np.ndarray, str, pa.Array]  # the rows that are wrong, why, and the column at fault


@dataclass(frozen=True)
class BadRow:
    """A row that is not in the log: its place, the reason, the offending value, and the whole text."""

    file: str
    row: int
    reason: str
    value: str
    text: str


@dataclass(frozen=True)
class CanonicalRows:
    """Good rows as a batch of the log, where each stood in its file, and the bad ones."""

    batch: pa.RecordBatch
    numbers: np.ndarray
    bad: list[BadRow]


class Canonicalizer:
    """Turns raw rows into canonical ones; each distinct time is parsed once."""

    def __init__(self, schema: Schema, *, has_truth: bool):
        self._schema = schema
        self._times = TimeParser(schema)
        self._arrow = arrow_schema(schema, has_truth=has_truth)
        self._has_truth = has_truth
        self._rules = {spec.name: FieldText(schema, spec) for spec in schema.fields}

    def __call__(self, raw: RawRows) -> CanonicalRows:
        """Return good and bad rows of a batch; InputError if a column's type holds no values."""
        schema, columns = self._schema, raw.columns
        blame: list[Blame] = []
        label = self._labels(columns[schema.label], raw.file)
        blame.append((label < 0, LABEL, columns[schema.label]))
        ticks = self._times.ticks(columns[schema.time_column], raw.file)
        blame.append((ticks == NOT_A_TIME, TIME_BAD, columns[schema.time_column]))
        ready: dict[str, pa.Array] = {}
        if schema.id:
            ids = ready[schema.id] = _texts(columns[schema.id], schema.id, raw.file)
            empty = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(ids), ""), True)
            blame.append((empty.to_numpy(zero_copy_only=False), ID_EMPTY, ids))
        if self._has_truth and schema.truth:
            truth = ready[schema.truth] = _probabilities(columns.get(schema.truth), len(ticks))
            found = columns.get(schema.truth, truth)
            blame.append((pc.is_null(truth).to_numpy(zero_copy_only=False), TRUTH, found))
        for name, rule in self._rules.items():
            if rule.kind == "number":
                coded = columns[name].dictionary_encode()
                texts = _distinct_texts(coded.dictionary, name, raw.file)
                numbers, unreadable = rule.numbers(texts)
                ready[name] = numbers.take(coded.indices)
                wrong_values = np.append(unreadable, False)[
                    coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
                ]
                blame.append((wrong_values, NUMBER.format(name), columns[name]))
            else:
                ready[name] = _codes(columns[name], rule, name, raw.file)
        ready[schema.label] = pa.array(label)
        ready[schema.time_column] = pa.array(ticks).view(TIME)
        batch = pa.RecordBatch.from_arrays(
            [ready[field.name] for field in self._arrow], schema=self._arrow
        )
        wrong = np.logical_or.reduce([mask for mask, _, _ in blame])
        bad = sorted([*_bad_lines(raw), *_bad_rows(raw, wrong, blame)], key=lambda found: found.row)
        if not wrong.any():
            return CanonicalRows(batch, raw.numbers, bad)
        return CanonicalRows(batch.filter(pa.array(~wrong)), raw.numbers[~wrong], bad)

    def _labels(self, column: pa.Array, file: str) -> np.ndarray:
        codes = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        texts = _distinct_texts(codes.dictionary, self._schema.label, file).to_pylist()
        known = [_LABELS.get((text or "").strip(), -1) for text in texts]
        return np.array([*known, -1], dtype=np.int8)[
            codes.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        ]


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


def _codes(column: pa.Array, rule: FieldText, name: str, file: str) -> pa.DictionaryArray:
    """Return a column as dictionary codes of canonical texts, null where there is no value."""
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    texts = rule.texts(_distinct_texts(coded.dictionary, name, file))
    if texts.equals(coded.dictionary):
        return pa.DictionaryArray.from_arrays(coded.indices.cast(pa.int32()), texts)
    # missing values, blanks taken off, and distinct floats such as 0.0 and -0.0 share a text
    recoded = texts.dictionary_encode()
    return pa.DictionaryArray.from_arrays(
        recoded.indices.cast(pa.int32()).take(coded.indices), recoded.dictionary
    )


def _distinct_texts(values: pa.Array, name: str, file: str) -> pa.Array:
    kind = values.type
    if pa.types.is_string(kind):
        return values
    if pa.types.is_null(kind):
        return pa.nulls(len(values), pa.string())
    if is_number_type(kind):
        return number_texts(values)
    if (
        is_text_type(kind)
        or pa.types.is_timestamp(kind)
        or pa.types.is_date(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_binary(kind)
    ):
        return values.cast(pa.string())
    raise InputError(f"{file}: column {name!r} has the type {kind}; expected text or numbers")


def _texts(column: pa.Array, name: str, file: str) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return _distinct_texts(column, name, file)


def _probabilities(column: pa.Array | None, n_rows: int) -> pa.Array:
    """Return a column as float64, null where it is not a probability."""
    if column is None:
        return pa.nulls(n_rows, pa.float64())
    try:
        values = column.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        values = pa.array([_float(value) for value in column.to_pylist()], pa.float64())
    inside = pc.and_(pc.greater_equal(values, 0.0), pc.less_equal(values, 1.0))
    return pc.if_else(inside, values, pa.scalar(None, pa.float64()))


def _float(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
