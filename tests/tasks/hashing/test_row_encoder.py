"""One row of a live request to codes; that it agrees with batches is tested in test_encode."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tasks.errors import InputError
from tasks.hashing.row_encoder import RowEncoder
from tests.tasks.hashing.test_encode import CONTRACT, PLAIN


def test_text_that_is_not_unicode_is_named():
    """A lone surrogate, as JSON may carry it, cannot be written as UTF-8."""
    with pytest.raises(InputError, match="field 'größe': the text cannot be written"):
        RowEncoder(CONTRACT).encode_row({"site": "ok", "größe": "\ud800"})


@pytest.mark.parametrize(
    "value", [["a"], {"a": 1}, b"a", object(), 10**5000], ids=lambda value: type(value).__name__
)
def test_a_request_value_without_text_is_named(value):
    """Lists, objects and integers beyond what Python writes out have no token."""
    with pytest.raises(InputError, match="field 'n': "):
        RowEncoder(CONTRACT).encode_row({"n": value})


def test_absent_none_nan_and_empty_are_one():
    """However a value is missing, it is the same token; extra keys do not matter."""
    encoder = RowEncoder(PLAIN)
    rows = [
        {},
        {"site": None},
        {"site": ""},
        {"site": float("nan")},
        {"other": 1},
        {"site": np.float64("nan")},
    ]
    assert len({int(code) for code in encoder.encode_rows(rows)[:, 0]}) == 1


def test_a_row_encoder_serves_many_threads():
    """Nothing is shared between two requests."""
    encoder = RowEncoder(CONTRACT)
    rows = [
        {"site": f"s{i}", "n": i, "when": f"2014-10-{i % 28 + 1:02d}T{i % 24:02d}:00"}
        for i in range(400)
    ]
    alone = encoder.encode_rows(rows)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(encoder.encode_row, rows * 4))
    assert (np.array(together) == np.tile(alone, (4, 1))).all()


def test_the_time_cache_is_bounded():
    """A client that sends a new time with each request does not fill the memory."""
    encoder = RowEncoder(CONTRACT)
    start = datetime(2014, 10, 21, tzinfo=UTC)
    for i in range(1500):
        encoder.encode_row({"when": (start + timedelta(seconds=i)).isoformat()})
    assert encoder._features._read.cache_info().currsize <= 1024
