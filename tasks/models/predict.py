"""Predictions for a whole feature set, batch by batch."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np


class Rows(Protocol):
    """What is needed of a feature set: batches with ``codes`` and ``label``, in time order."""

    @property
    def n_rows(self) -> int: ...

    def batches(self) -> Iterator[Any]: ...


def predict_stream(model: Any, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and click probabilities of a feature set, both float64, batch by batch.

    `model` is a learner or a saved model. One that carries a hash contract refuses rows of another.

    Raises
    ------
    ContractError
        If model and rows do not share one hash contract.
    """
    contract, theirs = getattr(model, "contract", None), getattr(rows, "contract", None)
    if contract is not None and theirs is not None:
        contract.require_same(theirs, where="the feature set")
    labels, predictions = [np.empty(0)], [np.empty(0)]
    for batch in rows.batches():
        labels.append(batch.label.astype(np.float64))
        predictions.append(model.predict_codes(batch.codes))
    return np.concatenate(labels), np.concatenate(predictions)
