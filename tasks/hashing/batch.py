"""Rows of a log to what a learner takes: aligned arrays of codes, labels and times."""

import numpy as np
import pyarrow as pa

from tasks.errors import InputError
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import encode_batch
from tasks.hashing.feature_set import Batch
from tasks.hashing.features.columns import Faults
from tasks.hashing.moments import read_moments


def make_batch(
    table: pa.RecordBatch | pa.Table, contract: HashContract, faults: Faults | None = None
) -> Batch:
    """Return codes, labels and times of a batch of rows; `faults` counts rows in which a feature fails.

    Raises
    ------
    InputError
        If a column is missing, or a label is not 0 or 1.
    """
    label = contract.label
    for name in (label, contract.time_column):
        if name not in table.schema.names:
            raise InputError(
                f"column {name!r} is missing from the batch; its columns are {table.schema.names}"
            )
    moments = read_moments(_whole(table.column(contract.time_column)), contract)
    labels = _labels(_whole(table.column(label)), label)
    return Batch(
        encode_batch(table, contract, faults=faults), labels, moments.view("datetime64[ms]")
    )


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
