"""Duplicates: found in pieces of a file as a dictionary would find them."""

from collections import Counter

import numpy as np
import pytest

from tasks.logs.intake import duplicates
from tasks.logs.intake.duplicates import Column, find_candidates


@pytest.fixture(params=[3, 64, 10_000], ids=lambda n: f"pieces of {n}")
def rng(monkeypatch, request):
    monkeypatch.setattr(duplicates, "_CHUNK_ROWS", request.param)
    return np.random.default_rng(request.param)


def column_of(path, values):
    column = Column(path, values.dtype.str)
    for piece in np.array_split(values, 7):
        column.append(piece)
    return column


@pytest.mark.parametrize("pass_rows", [100, 700, 10_000])
@pytest.mark.parametrize("n_distinct", [1, 50, 1900, 2**40])
def test_candidates_are_all_keys_that_occur_twice(tmp_path, rng, pass_rows, n_distinct):
    """However many passes over however many pieces; the extreme keys too."""
    keys = rng.integers(0, n_distinct, 2000).astype(np.uint64) * np.uint64(2**64 // n_distinct - 1)
    keys[[5, 1700, 1900]] = np.iinfo(np.uint64).max
    column = column_of(tmp_path / "keys", keys)
    counts = Counter(keys.tolist())
    expected = [place for place, key in enumerate(keys.tolist()) if counts[key] > 1]
    found = find_candidates(column.chunks, column.size, pass_rows=pass_rows)
    assert found.tolist() == expected


def test_no_rows_have_no_candidates(tmp_path, rng):
    """An empty file is read like any other."""
    column = column_of(tmp_path / "keys", np.zeros(0, dtype=np.uint64))
    assert find_candidates(column.chunks, column.size).size == 0
    assert column.take(np.zeros(0, dtype=np.int64)).size == 0


def test_ranks_count_equal_values_before(tmp_path, rng):
    """Which row of its day a row is, in order of arrival."""
    days = rng.integers(-2, 4, 500).astype(np.int32)
    places = np.flatnonzero(rng.random(500) < 0.3)
    column = column_of(tmp_path / "days", days)
    expected = [int((days[:place] == days[place]).sum()) for place in places]
    assert column.ranks(places).tolist() == expected
    assert column.take(places).tolist() == days[places].tolist()
