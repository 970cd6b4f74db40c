"""Sums by unit: the unit of assignment is the unit of analysis, as the clicks of one are not independent.

Conventions: the columns of sums are `COLUMNS`; a covariate is a ratio as well, of its sum over its base.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tasks.evaluation.rows import row_losses
from tasks.monitoring.ab_test.impressions import Impressions

COLUMNS = ("clicks", "impressions", "loss", "covariate", "covariate_base")


class Arm(NamedTuple):
    """The impressions of one variant as sums by unit and day, in order of days.

    Attributes
    ----------
    unit, day
        Number of the unit, and days since 1970, ``(n_rows,)`` each; a unit has one row per day.
    sums
        Of the first three columns, and of a covariate that grows with the impressions, ``(n_rows, 5)``.
    constant
        By unit, what its covariate had before the experiment, ``(n_units, 5)``.
    """

    unit: np.ndarray
    day: np.ndarray
    sums: np.ndarray
    constant: np.ndarray

    @property
    def n_units(self) -> int:
        """How many units have impressions."""
        return len(np.unique(self.unit))

    @property
    def totals(self) -> np.ndarray:
        """The sums of each column, ``(5,)``."""
        return np.asarray(self.sums.sum(axis=0))

    def first_days(self) -> np.ndarray:
        """Return the first day of each unit with impressions."""
        _, rows = np.unique(self.unit, return_index=True)
        return np.asarray(self.day[rows])

    def looks(self, days: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the sums of each unit with impressions until the end of each day, ``(n_units, 5)``."""
        totals, is_seen = self.constant.copy(), np.zeros(len(self.constant), bool)
        start = 0
        for stop in np.searchsorted(self.day, days, side="right"):
            units = self.unit[start:stop]
            for column in range(totals.shape[1]):
                new = np.bincount(units, self.sums[start:stop, column], len(totals))
                totals[:, column] += new
            is_seen[units] = True
            start = stop
            yield totals[is_seen]


def arm_of(
    rows: Impressions, variant: str, *, shadow: str = "", before: Impressions | None = None
) -> Arm:
    """Return the sums of a variant.

    Parameters
    ----------
    rows
        The impressions of the experiment.
    variant
        Its name.
    shadow
        A model that scored every impression of all variants: its predictions are the covariate.
    before
        Impressions before the experiment: each unit's clicks in them are the covariate.
    """
    found = rows.take(rows.variant.is_(variant))
    n_units = len(rows.unit.names)
    keys, cells = np.unique(found.day * n_units + found.unit.codes, return_inverse=True)
    columns = [found.y_true, np.ones(len(cells)), _losses(found)]
    columns += [found.shadow[shadow], columns[1]] if shadow else [np.zeros(len(cells))] * 2
    sums = np.stack([np.bincount(cells, one, len(keys)) for one in columns], axis=-1)
    constant = np.zeros((n_units, len(COLUMNS)))
    if before is not None:
        constant[:, 3] = np.bincount(before.unit.codes, before.y_true, n_units)
        constant[:, 4] = np.bincount(before.unit.codes, minlength=n_units)
    return Arm(keys % n_units, keys // n_units, sums, constant)


def totals_by_unit(arm: Arm) -> np.ndarray:
    """Return the sums of each unit until the last day, ``(n_units, 5)``."""
    return next(arm.looks(np.array([arm.day[-1] if len(arm.day) else 0])))


def _losses(rows: Impressions) -> np.ndarray:
    return row_losses(rows.y_true, rows.p_click) if len(rows.day) else np.zeros(0)


def moments(sums: np.ndarray) -> Any:
    """Return count, means, variances and covariances of the columns over units, as tea-tasting takes them."""
    from tea_tasting.aggr import Aggregates

    mean, covariance = sums.mean(axis=0), np.cov(sums, rowvar=False)
    places = range(len(COLUMNS))
    return Aggregates(
        len(sums),
        dict(zip(COLUMNS, mean.tolist(), strict=True)),
        dict(zip(COLUMNS, covariance.diagonal().tolist(), strict=True)),
        {
            (COLUMNS[i], COLUMNS[j]): float(covariance[i, j])
            for i in places
            for j in places
            if i < j
        },
    )


def effective_units(sums: np.ndarray) -> float:
    """Return how many units of equal weight the impressions are worth: 1 where one unit has nearly all of them.

    References
    ----------
    Kish (1965), "Survey Sampling", section 11.7.
    """
    n = sums[:, 1]
    return float(n.sum() ** 2 / (n**2).sum()) if n.any() else 0.0
