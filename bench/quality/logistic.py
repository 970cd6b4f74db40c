"""scikit-learn's LogisticRegression, its penalty tuned, on one column per value."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from bench.quality.choice import Fitted, Setting, grid, timed
from bench.quality.rows import Fold, Part
from tasks.evaluation.metrics import log_loss

MAX_ITERATIONS, TOLERANCE = (
    300,
    1e-3,
)  # as good as the default 1e-4 on validation rows, in half the time


@dataclass(frozen=True)
class Logistic:
    """Batch logistic regression with an L2 penalty, by L-BFGS."""

    key: str = "logistic"
    label: str = "LogisticRegression"
    settings: Sequence[Setting] = grid(C=[0.05, 0.1, 0.25, 0.5])
    ours: bool = False

    def trial(self, setting: Setting, fold: Fold) -> tuple[float, int]:
        """Return validation log loss; there are no passes to choose."""
        model = self.fit(setting, 1, fold.train, fold)
        return log_loss(fold.valid.label, model.predict(fold.valid)), 1

    def fit(self, setting: Setting, n_passes: int, rows: Part, fold: Fold) -> Fitted:
        """Return the model, from the matrix in memory."""
        sizes = np.maximum.reduce([part.columns.max(axis=0) for part in (fold.train, fold.valid, fold.test)]) + 1  # fmt: skip
        matrix = one_hot(rows.columns, sizes)
        model = LogisticRegression(max_iter=MAX_ITERATIONS, tol=TOLERANCE, **setting)
        _, cpu_s = timed(lambda: model.fit(matrix, rows.label))
        return Fitted(lambda part: model.predict_proba(one_hot(part.columns, sizes))[:, 1], cpu_s)


def one_hot(columns: np.ndarray, sizes: np.ndarray) -> sparse.csr_array:
    """Return a sparse matrix with a 1 in one place per column.

    >>> one_hot(np.array([[0, 1], [1, 0]]), np.array([2, 2])).toarray().tolist()
    [[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]]
    """
    n_rows, n_columns = columns.shape
    places = (columns + np.concatenate([[0], np.cumsum(sizes)[:-1]])).ravel()
    indptr = np.arange(n_rows + 1) * n_columns
    return sparse.csr_array((np.ones(len(places)), places, indptr), (n_rows, int(sizes.sum())))
