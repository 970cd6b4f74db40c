"""A model as MLflow loads it: data frames of raw fields in, click probabilities out.

An ``MLmodel`` file names this module as its loader. MLflow then calls :func:`_load_pyfunc`, with the copy of
the library that lies beside the model if there is no other.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.errors import InputError
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import columns_of
from tasks.hashing.moments import bad_time, moment_parser, to_ms
from tasks.hashing.row_encoder import field_readers
from tasks.logs.spelling import EXACT
from tasks.logs.value_text import value_text
from tasks.models.artifact import ScoringModel, load_model


class FrameModel:
    """Predicts for data frames what :meth:`tasks.models.artifact.ScoringModel.predict_rows` predicts for requests.

    Parameters
    ----------
    model
        A trained model.
    """

    def __init__(self, model: ScoringModel):
        self.model = model

    def predict(self, frame: pd.DataFrame, params: Any = None) -> np.ndarray:
        """Return the click probabilities of the rows of a frame, float64 ``(n_rows,)``.

        Parameters
        ----------
        frame
            Columns by the names of the schema: text, numbers or missing values; the time also as moments. An
            absent column is missing in every row, and other columns are ignored.
        params
            Not used; MLflow passes it.

        Raises
        ------
        InputError
            If no column of the schema is there, or a value cannot be hashed; the message names the column.
        """
        contract = self.model.contract
        known = [name for name in columns_of(contract) if name in frame.columns]
        if not known:
            raise InputError(
                f"the frame has none of the model's columns ({', '.join(columns_of(contract))}); name its columns so"
            )
        return self.model.predict_batch(_to_arrow(frame, contract))


def _load_pyfunc(path: str) -> FrameModel:
    """Return the model in a folder; MLflow calls this by its name."""
    return FrameModel(load_model(path))


def _to_arrow(frame: pd.DataFrame, contract: HashContract) -> pa.Table:
    arrays: dict[str, pa.Array] = {}
    readers, numbers = field_readers(contract), dict(contract.numbers)
    for name in columns_of(contract):
        if name not in frame.columns:
            arrays[name] = pa.nulls(len(frame), pa.string())
        elif name == contract.time_column:
            arrays[name] = _moments(frame[name], contract)
        else:
            if name not in numbers:
                _require_digits(frame[name], name=name)
            arrays[name] = _texts(frame[name], readers[name], name=name)
    return pa.table(arrays)


def _require_digits(values: pd.Series, *, name: str) -> None:
    if values.dtype.kind == "f" and (values.abs() >= EXACT).any():
        raise InputError(
            f"field {name!r}: pandas made floats of integers too large for them, so digits are lost; give the column as text"
        )


def _texts(values: pd.Series, read: Callable[[Any], str], *, name: str) -> pa.Array:
    try:
        return pa.array([read(value) for value in values.to_numpy()], pa.string())
    except UnicodeEncodeError as error:
        raise InputError(f"field {name!r}: {error}") from None


def _moments(values: pd.Series, contract: HashContract) -> pa.Array:
    """Return the times of a column as milliseconds since 1970; each distinct text is parsed once."""
    parse = cache(moment_parser(contract))

    def read(value: Any) -> int | None:
        if pd.api.types.is_scalar(value) and pd.isna(value):
            return None
        try:
            moment = value if isinstance(value, datetime) else parse(value_text(value))
            return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        except (TypeError, ValueError, OverflowError) as error:
            raise bad_time(contract, value, error) from None

    return pa.array(map(read, values), pa.int64()).cast(pa.timestamp("ms"))
