"""Rows of a log to what a learner takes: aligned arrays of codes, labels, times and weights."""

import numpy as np
import pyarrow as pa

from tasks.errors import InputError
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import encode_batch
from tasks.hashing.feature_set import Batch
from tasks.hashing.features.columns import Faults
from tasks.hashing.moments import read_moments
from tasks.schema import Schema


def make_batch(
    table: pa.RecordBatch | pa.Table, contract: HashContract, faults: Faults | None = None
) -> Batch:
    """Return codes, labels, times and weights of rows; `faults` counts rows in which a feature fails.

    Raises
    ------
    InputError
        If a column is missing, a label is not 0 or 1, or a weight is not a number above 0.
    """
    schema = contract.declared
    label = schema.label
    for name in (label, contract.time_column):
        if name not in table.schema.names:
            raise InputError(
                f"column {name!r} is missing from the batch; its columns are {table.schema.names}"
            )
    moments = read_moments(_whole(table.column(contract.time_column)), contract)
    labels = _labels(_whole(table.column(label)), label)
    codes = encode_batch(table, contract, faults=faults)
    return Batch(codes, labels, moments.view("datetime64[ms]"), weights_of(table, schema))


def weights_of(table: pa.RecordBatch | pa.Table, schema: Schema) -> np.ndarray | None:
    """Return how many impressions each row stands for, float64 ``(n_rows,)``; None in a log without weights.

    Raises
    ------
    InputError
        If the column is missing, or a weight is not a number above 0.
    """
    name = schema.weight_column
    if name is None:
        return None
    if name not in table.schema.names:
        raise InputError(f"column {name!r}, the weights, is missing from the batch")
    try:
        column = _whole(table.column(name)).cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"weight {name!r} must be a number ({error})") from None
    weights = column.to_numpy(zero_copy_only=False)
    if not np.all((weights > 0) & (weights < np.inf)):
        raise InputError(
            f"weight {name!r} must be a number above 0 in every row; ingest the log again"
        )
    return weights


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _labels(column: pa.Array, name: str) -> np.ndarray:
    try:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        labels = column.cast(pa.uint8())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"label {name!r} must be 0 or 1 ({error})") from None
    if labels.null_count:
        raise InputError(
            f"label {name!r} is missing in {labels.null_count} rows; remove those rows"
        )
    values = labels.to_numpy(zero_copy_only=False)
    if values.size and values.max() > 1:
        raise InputError(f"label {name!r} must be 0 or 1, found {values.max()}")
    return values
