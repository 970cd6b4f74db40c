"""Parts of the traffic that are evaluated on their own, as the schema declares them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from tasks.evaluation import metrics
from tasks.hashing.features.columns import with_features
from tasks.logs.log import Log
from tasks.logs.split import Span
from tasks.schema import Schema, Slice
from tasks.schemas.fields import UNSEEN

_MAX_VALUES = 24
_COLUMNS = [
    "slice",
    "value",
    "n_rows",
    "n_clicks",
    "n_expected",
    "calibration_ratio",
]  # of a schema without slices


def slice_labels(
    log: Log, schema: Schema, *, span: Span, learned_span: Span
) -> dict[str, np.ndarray]:
    """Return for each declared slice the part that every row of the span belongs to, as text.

    A value is "unseen" if it is in none of the rows of `learned_span`: all that the models have learned.

    Only the 24 most frequent values of a field keep their name; the others are "(other)".
    """
    names = {part.field for part in schema.slices}
    features = [one for one in schema.derived if names.intersection(one.columns)]
    read = {name for one in features for name in one.fields}
    columns = sorted(read | names.intersection(schema.field_names))
    frame = log.to_pandas([*columns, schema.time_column], *span)
    frame = with_features(frame, features, time_column=schema.time_column)
    return {part.name: _labels(part, frame, log, schema, learned_span) for part in schema.slices}


def _labels(
    part: Slice, frame: pd.DataFrame, log: Log, schema: Schema, learned_span: Span
) -> np.ndarray:
    values = frame[part.field].astype("str").fillna("(missing)")
    if part.seen:
        seen = _seen_values(log, part.field, schema, learned_span)
        return np.where(values.isin(seen), "seen before", UNSEEN)
    if part.missing is not None:
        return np.where(frame[part.field].isna(), part.missing, part.other or "other")
    if part.field in schema.feature_columns:
        values = _sorting_as_numbers(values)
    frequent = values.value_counts().index[:_MAX_VALUES]
    return values.where(values.isin(frequent), "(other)").to_numpy(dtype=object)


def _sorting_as_numbers(values: pd.Series) -> pd.Series:
    """Return texts with zeros in front where all are whole numbers, such as hours."""
    texts = [text for text in values.unique() if text != "(missing)"]
    if not all(text.isdecimal() for text in texts):
        return values
    width = max(map(len, texts), default=0)
    return values.map(lambda text: text.zfill(width) if text.isdecimal() else text)


def _seen_values(log: Log, field: str, schema: Schema, span: Span) -> set[str]:
    features = [one for one in schema.derived if field in one.columns]
    columns = [name for one in features for name in one.fields] if features else [field]
    if any(one.reads_time for one in features):
        columns.append(schema.time_column)
    seen: set[str] = set()
    for batch in log.batches(columns=columns, start=span[0], stop=span[1]):
        frame = with_features(batch.to_pandas(), features, time_column=schema.time_column)
        seen.update(frame[field].astype("str").fillna("(missing)").unique())
    return seen


def slice_table(
    model: str,
    y_true: np.ndarray,
    p_click: np.ndarray,
    labels: Mapping[str, np.ndarray],
    weight: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return the metrics of each part of each slice, with the columns ``model``, ``slice`` and ``value`` first.

    `weight` are the impressions per row; None: 1.
    """
    tables = []
    for name, values in labels.items():
        table = metrics.by_slice(y_true, p_click, values, weight)
        table.insert(0, "slice", name)
        tables.append(table.reset_index(names="value"))
    joined = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=_COLUMNS)
    joined.insert(0, "model", model)
    return joined
