"""Parts of the traffic that are evaluated on their own, as the schema declares them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from tasks.evaluation import metrics
from tasks.logs.log import Log
from tasks.logs.split import Span
from tasks.schema import Schema, Slice

_MAX_VALUES = 24
_COLUMNS = ["slice", "value", "n_rows", "calibration_ratio"]  # of a schema without slices


def slice_labels(
    log: Log, schema: Schema, *, span: Span, train_span: Span
) -> dict[str, np.ndarray]:
    """Return for each declared slice the part that every row of the span belongs to, as text.

    Only the 24 most frequent values of a field keep their name; the others are "(other)".
    """
    fields = sorted({part.field for part in schema.slices if part.field in schema.field_names})
    frame = log.to_pandas([*fields, schema.time_column], *span)
    return {part.name: _labels(part, frame, log, schema, train_span) for part in schema.slices}


def _labels(
    part: Slice, frame: pd.DataFrame, log: Log, schema: Schema, train_span: Span
) -> np.ndarray:
    values = _values(part.field, frame, schema)
    if part.seen:
        seen = _seen_values(log, part.field, train_span)
        return np.where(values.isin(seen), "seen in training", "unseen")
    if part.missing is not None:
        constant = schema.missing_values.get(part.field)
        is_missing = frame[part.field].isna() | (values == constant)
        return np.where(is_missing, part.missing, part.other or "other")
    frequent = values.value_counts().index[:_MAX_VALUES]
    return values.where(values.isin(frequent), "(other)").to_numpy(dtype=object)


def _values(field: str, frame: pd.DataFrame, schema: Schema) -> pd.Series:
    if field == "hour_of_day":
        return frame[schema.time_column].dt.strftime("%H")
    if field == "weekday":
        return frame[schema.time_column].dt.day_name()
    return frame[field].astype("str").fillna("(missing)")


def _seen_values(log: Log, field: str, span: Span) -> set[str]:
    seen: set[str] = set()
    for batch in log.batches(columns=[field], start=span[0], stop=span[1]):
        values = batch.column(0).unique().dictionary.to_pylist()
        seen.update(value for value in values if value is not None)
    return seen


def slice_table(
    model: str, y_true: np.ndarray, p_click: np.ndarray, labels: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """Return the metrics of each part of each slice, with the columns ``model``, ``slice`` and ``value`` first."""
    tables = []
    for name, values in labels.items():
        table = metrics.by_slice(y_true, p_click, values)
        table.insert(0, "slice", name)
        tables.append(table.reset_index(names="value"))
    joined = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=_COLUMNS)
    joined.insert(0, "model", model)
    return joined
