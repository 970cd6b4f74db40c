"""Tables for a first look at a log; the figures are in :mod:`tasks.figures.explore`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tasks.logs.log import Log
from tasks.schema import Schema
from tasks.storage.workspace import resolve

_Z95 = 1.959964


def sample(log: str | Path = "products/log", *, max_rows: int = 100_000) -> pd.DataFrame:
    """Return rows of an ingested log as a frame, for a first look in a notebook.

    Parameters
    ----------
    log
        Its folder, relative to the project.
    max_rows
        At most so many rows, evenly spread over the log; fewer rows are quicker.

    Returns
    -------
    DataFrame
        All columns of the log, plus ``hour_of_day`` and ``day`` (a date).

    Raises
    ------
    InputError
        If there is no complete log.
    """
    opened = Log.open(resolve(log))
    frame = _every_kth(opened, opened.columns, max_rows)
    (time_column,) = frame.select_dtypes("datetimetz").columns
    return _with_hour_and_day(frame, time_column)


def sample_log(log: Log, schema: Schema, *, max_rows: int) -> pd.DataFrame:
    """Return every k-th row as a frame, with k such that no more than `max_rows` are returned.

    Columns are the label, the time and the fields, plus ``hour_of_day`` and ``day`` (a date). A systematic
    sample keeps the shares of days and hours, which a random one only keeps on average.
    """
    columns = [schema.label, schema.time_column, *schema.field_names]
    return _with_hour_and_day(_every_kth(log, columns, max_rows), schema.time_column)


def _every_kth(log: Log, columns: Sequence[str], max_rows: int) -> pd.DataFrame:
    step = max(1, -(-log.n_rows // max_rows))
    pieces, offset = [], 0
    for batch in log.batches(columns=columns):
        rows = np.arange(-offset % step, batch.num_rows, step)
        pieces.append(batch.take(pa.array(rows)))
        offset += batch.num_rows
    return pa.Table.from_batches(pieces).unify_dictionaries().to_pandas()


def _with_hour_and_day(frame: pd.DataFrame, time_column: str) -> pd.DataFrame:
    moment = frame[time_column].dt
    return frame.assign(hour_of_day=moment.hour, day=moment.date)


def ctr_table(frame: pd.DataFrame, by: str | Sequence[str], *, label: str) -> pd.DataFrame:
    """Return impressions, share of traffic and click rate of each group, with 95% Wilson intervals.

    Returns
    -------
    DataFrame
        Columns ``n_rows``, ``share``, ``ctr``, ``low``, ``high``; one row per group, in group order.

    References
    ----------
    Wilson (1927), the score interval; it stays inside [0, 1] for small groups.
    """
    grouped = frame.groupby(by, observed=True)[label].agg(n_rows="size", n_clicks="sum")
    low, high = wilson_interval(grouped["n_clicks"].to_numpy(), grouped["n_rows"].to_numpy())
    return pd.DataFrame(
        {
            "n_rows": grouped["n_rows"],
            "share": grouped["n_rows"] / len(frame),
            "ctr": grouped["n_clicks"] / grouped["n_rows"],
            "low": low,
            "high": high,
        }
    )


def wilson_interval(n_clicks: np.ndarray, n_rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper end of the 95% score interval of a rate.

    Examples
    --------
    >>> low, high = wilson_interval(np.array([17]), np.array([100]))
    >>> f"{low[0]:.3f} {high[0]:.3f}"
    '0.109 0.255'
    """
    rate = n_clicks / n_rows
    centre = rate + _Z95**2 / (2 * n_rows)
    spread = _Z95 * np.sqrt(rate * (1 - rate) / n_rows + _Z95**2 / (4 * n_rows**2))
    scale = 1 + _Z95**2 / n_rows
    return np.maximum((centre - spread) / scale, 0), np.minimum((centre + spread) / scale, 1)


def field_table(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return for each field its distinct values, the share of the top one, and how much is missing.

    ``missing_share`` counts nulls: `ingest` made them of whatever stands for a missing value.
    """
    rows = []
    for spec in schema.fields:
        counts = frame[spec.name].value_counts(dropna=True)
        n_missing = int(frame[spec.name].isna().sum())
        top = counts.iloc[0] / len(frame) if len(counts) else 0.0
        rows.append((spec.name, int((counts > 0).sum()), float(top), n_missing / len(frame)))
    return pd.DataFrame(
        rows, columns=["field", "n_distinct", "top_share", "missing_share"]
    ).set_index("field")


def novelty_table(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return for each field the share of traffic whose value no earlier day had.

    Returns
    -------
    DataFrame
        Index the fields, columns the days from the second on; empty for a log of one day.
    """
    days = np.sort(frame["day"].unique())
    day_number = np.searchsorted(days, frame["day"].to_numpy())
    table = {}
    for name in schema.field_names:
        codes = pd.factorize(frame[name])[0]
        first_day = np.full(codes.max() + 2, len(days))
        np.minimum.at(first_day, codes, day_number)
        is_new = first_day[codes] == day_number
        table[name] = [is_new[day_number == number].mean() for number in range(1, len(days))]
    return pd.DataFrame.from_dict(table, orient="index", columns=list(days[1:]))


def count_tokens(log: Log, schema: Schema) -> int:
    """Return the number of distinct ``field=value`` tokens in the whole log."""
    total = 0
    for name in schema.field_names:
        seen: set[str | float] = set()
        for batch in log.batches(columns=[name]):
            column = batch.column(0)
            coded = pa.types.is_dictionary(column.type)
            seen.update((column.dictionary if coded else pc.unique(column)).to_pylist())
        total += len(seen)
    return total
