"""Answered impressions with their clicks, as arrays: what an experiment is read from."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import DataCheckError
from tasks.monitoring.attribution import HOUR_US, Rule, attribute
from tasks.monitoring.clicks import SUFFIXES, read_clicks
from tasks.monitoring.sources import find_files
from tasks.monitoring.spool import click_schema
from tasks.serving.exposures import read_exposures

DAY_US = 24 * HOUR_US


class Coded(NamedTuple):
    """A column of texts: the number of each row's text, ``(n_rows,)``, and the texts."""

    codes: np.ndarray
    names: list[str]

    def is_(self, name: str) -> np.ndarray:
        """Return which rows hold a text, bool."""
        return self.codes == (self.names.index(name) if name in self.names else -1)

    def take(self, rows: np.ndarray) -> "Coded":
        """Return some of the rows."""
        return Coded(self.codes[rows], self.names)


class Impressions(NamedTuple):
    """Impressions whose label is final, ``(n_rows,)`` each, none of a variant that was asked for.

    Attributes
    ----------
    unit, variant, experiment
        The unit's hash, the variant that answered, the digest of the experiment.
    day
        Days since 1970, UTC.
    y_true, p_click
        Whether it was clicked; the probability that was answered.
    shadow
        Probabilities of models that answered nothing, NaN where one did not score.
    fields
        Values of fields, for slices.
    counts
        What became of the rows that were read, by name.
    """

    unit: Coded
    variant: Coded
    experiment: Coded
    day: np.ndarray
    y_true: np.ndarray
    p_click: np.ndarray
    shadow: dict[str, np.ndarray]
    fields: dict[str, Coded]
    counts: dict[str, int]

    def take(self, rows: np.ndarray) -> "Impressions":
        """Return some of the rows, by a mask or by numbers."""
        plain = (self.day[rows], self.y_true[rows], self.p_click[rows])
        coded = (self.unit.take(rows), self.variant.take(rows), self.experiment.take(rows))
        shadow = {name: one[rows] for name, one in self.shadow.items()}
        fields = {name: one.take(rows) for name, one in self.fields.items()}
        return Impressions(*coded, *plain, shadow, fields, self.counts)


def read_impressions(
    exposures: str,
    clicks: str,
    *,
    fields: Sequence[str] = (),
    attribution_hours: float = 24.0,
    clock_tolerance_s: float = 60.0,
    now: datetime | None = None,
) -> Impressions:
    """Return the impressions of an exposure log with their clicks, joined as ``make monitor`` joins them.

    Parameters
    ----------
    exposures, clicks
        Folder, file or ``s3://`` address of each log.
    fields
        Fields whose values are read.
    attribution_hours, clock_tolerance_s
        A later click does not count; how far clocks may be apart.
    now
        The moment of the read-out; exposures younger than `attribution_hours` are left out. By default the clock's.

    Raises
    ------
    InputError
        If there is no such log.
    DataCheckError
        If no exposure is old enough for its label to be final.
    """
    shown = read_exposures(exposures, columns=fields).combine_chunks()
    usable = pc.and_(pc.is_valid(shown["request_id"]), pc.is_valid(shown["time"]))
    sound = pc.and_(pc.greater_equal(shown["p_click"], 0), pc.less_equal(shown["p_click"], 1))
    table = shown.filter(pc.fill_null(pc.and_(usable, sound), False)).combine_chunks()
    unusable = shown.num_rows - table.num_rows + int(shown.schema.metadata[b"n_skipped"])
    moment = now or datetime.now(UTC)
    now_us, window_us = round(moment.timestamp() * 1e6), round(attribution_hours * HOUR_US)
    rule = Rule(0, now_us, window_us, round(clock_tolerance_s * 1e6))
    joined = attribute(table, _clicks(clicks), rule)
    forced = table["forced"].take(pa.array(joined.rows)).fill_null(False).to_numpy()
    final = joined.time_us <= now_us - window_us
    counts = joined.counts | {"exposures_unreadable": unusable}
    counts |= {"exposures_forced": int(forced.sum()), "exposures_open": int((~final).sum())}
    kept = final & ~forced
    if not kept.any():
        raise DataCheckError(
            f"{exposures}: none of {len(kept):,} exposures has a final label; each waits {attribution_hours:g} hours for "
            "its click, and those whose variant was requested do not count"
        )
    rows = table.take(pa.array(joined.rows[kept])).combine_chunks()
    return _arrays(rows, joined.time_us[kept] // DAY_US, joined.y_true[kept], fields, counts)


def read_impressions_of(logs: Mapping[str, Any], *, fields: Sequence[str] = ()) -> Impressions:
    """Return the impressions of logs that are named as in the section ``monitor`` of env.yaml."""
    moment = datetime.fromisoformat(logs["now_utc"]) if logs["now_utc"] else None
    moment = moment.replace(tzinfo=moment.tzinfo or UTC) if moment else None
    return read_impressions(
        logs["exposures"],
        logs["clicks"],
        fields=fields,
        attribution_hours=logs["attribution_hours"],
        clock_tolerance_s=logs["clock_tolerance_s"],
        now=moment,
    )


def _clicks(place: str) -> pa.Table:
    tables = [read_clicks(file.address).table for file in find_files(place, SUFFIXES)]
    names = click_schema().names
    read = [one.rename_columns(names) for one in tables]
    return pa.concat_tables([click_schema().empty_table(), *read])


def _arrays(
    rows: pa.Table, day: np.ndarray, y_true: np.ndarray, fields: Sequence[str], counts: dict
) -> Impressions:
    shadow, values = _struct(rows, "shadow"), _struct(rows, "fields")
    return Impressions(
        coded(rows["unit_hash"]),
        coded(rows["variant"]),
        coded(rows["experiment"]),
        day,
        y_true.astype(np.float64),
        rows["p_click"].to_numpy(),
        {name: pc.fill_null(one, np.nan).to_numpy() for name, one in shadow.items()},
        {name: coded(one) for name, one in values.items() if name in fields},
        counts,
    )


def _struct(rows: pa.Table, name: str) -> dict[str, Any]:
    if name not in rows.column_names:
        return {}
    column = rows[name].combine_chunks()
    column = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
    return {field.name: pc.struct_field(column, field.name) for field in column.type}


def coded(texts: Any) -> Coded:
    """Return a column of texts as numbers; null is the empty text."""
    column = pc.fill_null(texts, "")
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    found = column.dictionary_encode()
    if isinstance(found, pa.ChunkedArray):
        found = found.unify_dictionaries().combine_chunks()
    return Coded(found.indices.to_numpy().astype(np.int64), found.dictionary.to_pylist())
