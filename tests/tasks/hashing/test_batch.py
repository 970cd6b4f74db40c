"""Batches of rows as a learner takes them: codes, labels and times, aligned."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import InputError
from tasks.hashing.batch import make_batch
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import encode_batch
from tasks.schema import Schema

RAW = {
    "name": "tiny",
    "label": "click",
    "time": {"column": "when", "format": "iso"},
    "fields": {"site": {}, "size": {}},
}
CONTRACT = HashContract.from_schema(Schema.from_dict(RAW), bits=16)


def rows(**changes) -> pa.Table:
    """Return two rows with other columns in the place of those named."""
    columns = {
        "click": [1, 0],
        "when": ["2014-10-21", "2014-10-22"],
        "site": ["a", "b"],
        "size": [1, 2],
    }
    return pa.table(columns | changes)


def test_codes_labels_and_times_belong_to_the_same_rows():
    """In the order of the rows, in the types of a feature set."""
    batch = make_batch(rows(), CONTRACT)
    assert (batch.codes == encode_batch(rows(), CONTRACT)).all()
    assert (batch.label.tolist(), batch.label.dtype) == ([1, 0], np.uint8)
    assert batch.time.tolist() == np.array(["2014-10-21", "2014-10-22"], "datetime64[ms]").tolist()


def test_chunks_are_one_batch():
    """A table may come in pieces."""
    pieces = pa.concat_tables([rows().slice(0, 1), rows().slice(1)])
    whole, part = make_batch(rows(), CONTRACT), make_batch(pieces, CONTRACT)
    assert all((one == other).all() for one, other in zip(whole[:3], part[:3], strict=True))
    assert whole.weight is part.weight is None


@pytest.mark.parametrize("name", ["click", "when", "site"])
def test_a_missing_column_is_named(name):
    """With the columns that there are."""
    with pytest.raises(InputError, match=f"column '{name}' is missing from the batch"):
        make_batch(rows().drop_columns([name]), CONTRACT)


@pytest.mark.parametrize(
    "column",
    [pa.array([True, False]), pa.array([1.0, 0.0]), pa.array(["1", "0"]).dictionary_encode()],
)
def test_labels_of_any_type_become_bytes(column):
    """Booleans, floats and digits are labels too."""
    assert make_batch(rows(click=column), CONTRACT).label.tolist() == [1, 0]


WEIGHTED = HashContract.from_schema(Schema.from_dict(RAW | {"weight": "n"}), bits=16)


def test_weights_belong_to_the_same_rows():
    """As float64, whatever number they are; a label may be a mapping."""
    assert make_batch(rows(n=[3, 1]), WEIGHTED).weight.tolist() == [3.0, 1.0]
    counts = RAW | {"label": {"column": "click", "impressions": "shown"}}
    contract = HashContract.from_schema(Schema.from_dict(counts), bits=16)
    assert make_batch(rows(weight=[0.5, 7.0]), contract).weight.tolist() == [0.5, 7.0]


@pytest.mark.parametrize("column", [[0.0, 1.0], [-1.0, 1.0], [None, 1.0], [float("inf"), 1.0]])
def test_a_weight_that_is_none_is_named(column):
    """The ingest lets none pass, so the log was changed."""
    with pytest.raises(InputError, match="weight 'n' must be a number above 0"):
        make_batch(rows(n=pa.array(column, pa.float64())), WEIGHTED)


def test_a_missing_or_unreadable_weight_is_named():
    """Neither is taken for a weight of 1."""
    with pytest.raises(InputError, match="column 'n', the weights, is missing"):
        make_batch(rows(), WEIGHTED)
    with pytest.raises(InputError, match="weight 'n' must be a number"):
        make_batch(rows(n=["many", "few"]), WEIGHTED)
