"""Rows that hang together: those of one campaign, publisher or person share their luck.

Where they do, an interval that takes rows as independent is too narrow, of a single loss several times. A bootstrap then
draws clusters in place of rows (:mod:`tasks.evaluation.bootstrap`).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tasks.errors import ConfigError
from tasks.evaluation.rows import mean_with_error
from tasks.schema import Schema

AUTO = "auto"
FEWEST = 50  # clusters of equal size that rows must amount to, for an interval by cluster to hold
_LEAST, _SIGMAS = (
    1.2,
    4.0,
)  # a design effect below either may be that of rows which do not hang together


@dataclass(frozen=True)
class Clusters:
    """What each test row belongs to.

    Attributes
    ----------
    field
        The field whose values are the clusters.
    ids
        A hash of each row's value, int64 ``(n_rows,)``, 0 or more; a row without a value is a cluster of its own.
    n_clusters
        Number of distinct values.
    n_effective
        How many clusters of equal size would say as much: ``sum(n)**2 / sum(n**2)``, n by weight.
    """

    field: str
    ids: np.ndarray
    n_clusters: int
    n_effective: float


def clusters_of(name: str, values: Any, weight: np.ndarray | None = None) -> Clusters:
    """Return the clusters that rows with these values of a field form; a missing value is a cluster of its own.

    `weight` is how many impressions each row stands for, ``(n_rows,)``; None: each is one.

    Examples
    --------
    >>> found = clusters_of("site", ["a", "a", "b", None])
    >>> found.n_clusters, round(found.n_effective, 1), bool(found.ids[0] == found.ids[1])
    (3, 2.7, True)
    """
    column = pd.Series(values, copy=False).astype("category")
    codes = column.cat.codes.to_numpy().astype(np.int64)
    texts = column.cat.categories.astype(str).to_numpy(dtype=object)
    hashes = np.concatenate([pd.util.hash_array(texts, categorize=False), [np.uint64(0)]])
    rows = pd.util.hash_array(np.arange(len(codes), dtype=np.uint64))
    ids = (np.where(codes >= 0, hashes[codes], rows) >> np.uint64(1)).astype(np.int64)
    size = np.ones(len(codes)) if weight is None else np.asarray(weight, dtype=np.float64)
    known = codes >= 0
    sizes = np.concatenate([np.bincount(codes[known], size[known]), size[~known]])
    squares = float((sizes**2).sum())
    n_effective = float(sizes.sum()) ** 2 / squares if squares else 0.0
    return Clusters(name, ids, int((sizes > 0).sum()), n_effective)


def design_effect(losses: np.ndarray, ids: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Return the variance of the mean loss if rows of a cluster hang together, over that if they do not.

    References
    ----------
    Kish (1965), "Survey sampling", section 5.4.

    Examples
    --------
    >>> round(design_effect(np.array([0.0, 0.0, 1.0, 1.0]), np.array([7, 7, 8, 8])), 9)
    2.0
    """
    alone, together = (mean_with_error(losses, weight, ids)[1] for ids in (None, ids))
    return float((together / alone) ** 2) if alone > 0 else 1.0


def check_cluster(field: str | None, schema: Schema) -> None:
    """Raise ConfigError unless the knob ``evaluation.cluster`` is ``auto``, null, or a field with one value per row."""
    fields = [spec.name for spec in schema.fields if spec.kind == "category"]
    if field in (None, AUTO, *fields):
        return
    kind = next((spec.kind for spec in schema.fields if spec.name == field), None)
    found = f"is a {kind}" if kind else "is no field of the schema"
    raise ConfigError(
        f"evaluation.cluster: {field!r} {found}; name one of {', '.join(fields)}, or auto, or null for single rows"
    )


def find_clusters(
    test: Any, losses: np.ndarray | None, schema: Schema, field: str | None = AUTO
) -> Clusters | None:
    """Return what the test rows belong to; None if they are to be taken one by one.

    Parameters
    ----------
    test
        The test rows (:class:`tasks.evaluation.comparison.TestRows`).
    losses
        The log loss of each row, of the best model; None if there is none.
    schema
        The declaration of the log.
    field
        The knob ``evaluation.cluster``. ``auto`` takes the category whose values share the most luck: the largest design
        effect, if it is more than chance, among those with 50 clusters' worth of rows.

    Raises
    ------
    ConfigError
        If there is no such field, or it is a number or a list.
    """
    check_cluster(field, schema)
    if field is not None and field != AUTO:
        return next(_candidates(test, [field]))
    if field is None or losses is None:
        return None
    names = [spec.name for spec in schema.fields if spec.kind == "category"]
    best, largest = None, 0.0
    for one in _candidates(test, names):
        if one.n_effective < FEWEST or one.n_clusters == test.n_rows:
            continue
        effect = design_effect(losses, one.ids, test.weight)
        by_chance = 1 + _SIGMAS * math.sqrt(2 / one.n_effective)  # as of a variance from so many
        if effect > max(largest, by_chance, _LEAST):
            best, largest = one, effect
    return best


def _candidates(test: Any, names: list[str]) -> Iterator[Clusters]:
    for name in names:
        yield clusters_of(name, test.log.to_pandas([name], *test.span)[name], test.weight)


def how_drawn(clusters: Clusters | None) -> str:
    """Return what intervals are drawn by, in half a sentence."""
    if clusters is None:
        return "single rows"
    few = " (few: the true interval is wider)" if clusters.n_effective < FEWEST else ""
    return f"{clusters.field}, {clusters.n_clusters:,} clusters{few}"
