"""Counts the past that statistics read, and freezes it in a hash contract."""

from collections import defaultdict
from collections.abc import Mapping
from itertools import accumulate

import numpy as np
import pyarrow as pa

from tasks.errors import ConfigError
from tasks.features.kinds.finding import find_feature
from tasks.features.kinds.past import Past
from tasks.hashing.batch import weights_of
from tasks.hashing.buckets import learn_edges
from tasks.hashing.columns import read_column, rows_of, text_list
from tasks.hashing.contract import HashContract
from tasks.logs.log import Log
from tasks.logs.split import Split
from tasks.schema import Schema

MAX_VALUES = 5_000  # of a field: the most frequent ones
MAX_PAIRS = 100_000  # of these values and days, about 12 bytes each in every model
_MAX_COUNTED = 2_000_000  # pairs of value and day held while counting
_DAY_MS = 86_400_000


def contract_for(
    log: Log, schema: Schema, split: Split, *, bits: int, seed: int = 0
) -> HashContract:
    """Return the contract to hash a log with: buckets learned on the training rows, statistics up to the first test row.

    Raises
    ------
    ConfigError
        If a knob is out of its range, or a statistic's field has too many values.
    """
    past = count_past(log, schema, (split.train[0], split.valid[1]))
    edges = learn_edges(log, schema, split.train)
    return HashContract.from_schema(schema, bits=bits, seed=seed, past=past, edges=edges)


def count_past(log: Log, schema: Schema, span: tuple[int, int]) -> Mapping[str, Past]:
    """Return the table of each of a schema's statistics, by its name.

    Parameters
    ----------
    log, schema
        The log and its declaration.
    span
        The rows that are counted, end exclusive.

    Raises
    ------
    ConfigError
        If a field has more than 2 million pairs of value and day: almost none would be seen again.
    """
    names_of: dict[str, list[str]] = defaultdict(list)
    for name in schema.features:
        feature = find_feature(name).feature
        if feature.is_statistic:
            names_of[feature.fields[0]].append(name)
    found: dict[str, Past] = {}
    for field, names in names_of.items():
        table = _frozen(_count(log, schema, names[0], field, span))
        found |= dict.fromkeys(names, table)
    return {name: found[name] for name in schema.features if name in found}


def _count(
    log: Log, schema: Schema, name: str, field: str, span: tuple[int, int]
) -> dict[tuple[str, int], list[float]]:
    """Return impressions and clicks by value and day, rows by their weights if they have some."""
    counts: dict[tuple[str, int], list[float]] = defaultdict(lambda: [0, 0])
    columns = [schema.label, schema.time_column, field]
    columns += [schema.weight_column] if schema.weight_column else []
    for batch in log.batches(columns=columns, start=span[0], stop=span[1]):
        days = batch.column(schema.time_column).cast(pa.timestamp("ms", "UTC")).cast(pa.int64())
        day_of = days.to_numpy() // _DAY_MS
        column = read_column(batch.column(field), name=field)
        first, n_values = int(day_of.min(initial=0)), column.texts.n_texts + 1
        pairs = (day_of - first) * n_values + rows_of(column)
        distinct, rows = np.unique(pairs, return_inverse=True)
        label, weight = batch.column(schema.label).to_numpy(), weights_of(batch, schema)
        shown = np.bincount(rows, weight)
        clicked = np.bincount(rows, label if weight is None else label * weight)
        texts = text_list(column.texts, distinct % n_values)
        for text, pair, *more in zip(
            texts, distinct.tolist(), shown.tolist(), clicked.tolist(), strict=True
        ):
            held = counts[text, pair // n_values + first]
            held[0] += more[0]
            held[1] += more[1]
        if len(counts) > _MAX_COUNTED:
            raise ConfigError(
                f"feature {name!r}: the field {field!r} has too many values for a statistic (more than "
                f"{_MAX_COUNTED:,} of value and day): almost none would be seen again; take a coarser field"
            )
    return counts


def _frozen(counts: Mapping[tuple[str, int], list[float]]) -> Past:
    """Return the table of the most frequent values."""
    by_value: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for (value, day), (shown, clicked) in sorted(counts.items()):
        by_value[value].append((day, round(shown), round(clicked)))
    impressions = {value: sum(shown for _, shown, _ in days) for value, days in by_value.items()}
    frequent = sorted(by_value, key=lambda value: (-impressions[value], value))[:MAX_VALUES]
    n_pairs = accumulate(len(by_value[value]) for value in frequent)
    kept = [value for value, n in zip(frequent, n_pairs, strict=True) if n <= MAX_PAIRS]
    return Past({value: by_value[value] for value in sorted(kept)})
