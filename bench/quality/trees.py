"""LightGBM on how often each value was seen and clicked before, or on the values as categories."""

from collections.abc import Sequence
from dataclasses import dataclass

import lightgbm
import numpy as np

from bench.quality.choice import Fitted, Setting, grid, timed
from bench.quality.rows import Fold, Part

MAX_TREES, PATIENCE, MAX_CATEGORIES = 400, 20, 1024
_PRIOR = 20.0  # impressions at the mean click rate that each value starts with
_FIXED = {"objective": "binary", "num_threads": 1, "verbose": -1, "seed": 7, "deterministic": True}


@dataclass(frozen=True)
class Trees:
    """Gradient boosting; `past` chooses between statistics of the past and categories."""

    key: str
    label: str
    past: bool
    settings: Sequence[Setting] = grid(num_leaves=[7, 31], learning_rate=[0.05], lambda_l2=[1.0, 20.0])  # fmt: skip
    ours: bool = False

    def trial(self, setting: Setting, fold: Fold) -> tuple[float, int]:
        """Return validation log loss and number of trees, by early stopping."""
        data, valid = self._dataset(fold.train), None
        valid = data.create_valid(self._inputs(fold.train, fold.valid), fold.valid.label)
        stop = lightgbm.early_stopping(PATIENCE, verbose=False)
        booster = lightgbm.train(_FIXED | dict(setting), data, MAX_TREES, [valid], callbacks=[stop])
        return booster.best_score["valid_0"]["binary_logloss"], booster.best_iteration

    def fit(self, setting: Setting, n_passes: int, rows: Part, fold: Fold) -> Fitted:
        """Return the model; statistics of the past and binning are part of the time."""

        def learn() -> lightgbm.Booster:
            return lightgbm.train(_FIXED | dict(setting), self._dataset(rows), n_passes)

        booster, cpu_s = timed(learn)
        return Fitted(lambda part: np.asarray(booster.predict(self._inputs(rows, part), num_threads=1)), cpu_s)  # fmt: skip

    def _dataset(self, rows: Part) -> lightgbm.Dataset:
        categories = "auto" if self.past else [*range(rows.columns.shape[1])]
        return lightgbm.Dataset(self._inputs(rows), rows.label, categorical_feature=categories)

    def _inputs(self, before: Part, rows: Part | None = None) -> np.ndarray:
        """Return the inputs of `before` itself, or of later rows."""
        if self.past:
            return past_rates(before.columns, before.label, None if rows is None else rows.columns)
        return frequent(before.columns, before.columns if rows is None else rows.columns)


def past_rates(
    columns: np.ndarray, label: np.ndarray, later: np.ndarray | None = None
) -> np.ndarray:
    """Return for each column the smoothed click rate of the row's value and the logarithm of its count, before the row.

    Parameters
    ----------
    columns, label
        Rows in time order.
    later
        Rows after all of these; None: for the rows themselves, each of which sees those before it only.

    Returns
    -------
    ndarray
        float32 ``(n_rows, 2 * n_columns)``.
    """
    prior, found = float(label.mean()), []
    for place in range(columns.shape[1]):
        values = columns[:, place]
        if later is None:
            seen, clicks = _running(values, label)
        else:
            size = int(max(values.max(), later[:, place].max())) + 1
            seen, clicks = (np.bincount(values, weight, size)[later[:, place]] for weight in (None, label))  # fmt: skip
        found += [(clicks + _PRIOR * prior) / (seen + _PRIOR), np.log1p(seen)]
    return np.column_stack(found).astype(np.float32)


def _running(values: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many earlier rows had the row's value, and how many of them a click."""
    order = np.argsort(values, kind="stable")
    is_first = np.r_[True, np.diff(values[order]) != 0]
    start = np.maximum.accumulate(np.where(is_first, np.arange(len(values)), 0))
    clicks = np.r_[0, np.cumsum(label[order], dtype=np.int64)]
    seen, clicked = np.empty(len(values)), np.empty(len(values))
    seen[order] = np.arange(len(values)) - start
    clicked[order] = clicks[:-1] - clicks[start]
    return seen, clicked


def frequent(before: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return values as categories, the most frequent ones of `before` from 0 on, and all others as one more."""
    found = np.empty(rows.shape, dtype=np.int32)
    for place in range(rows.shape[1]):
        size = int(max(before[:, place].max(), rows[:, place].max())) + 1
        counts = np.bincount(before[:, place], minlength=size)
        top = np.argsort(-counts, kind="stable")[:MAX_CATEGORIES]
        rank = np.full(size, len(top), dtype=np.int32)
        rank[top[counts[top] > 0]] = np.arange(int((counts[top] > 0).sum()))
        found[:, place] = rank[rows[:, place]]
    return found
