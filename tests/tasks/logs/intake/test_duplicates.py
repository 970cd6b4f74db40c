"""Duplicates: found share by share, over files of any number of segments, as a dictionary would find them."""

from collections import Counter

import numpy as np
import pytest

from tasks.logs.intake import duplicates
from tasks.logs.intake.duplicates import RowRecords, find_duplicates, records_of_days


@pytest.fixture(params=[3, 64, 10_000], ids=lambda n: f"segments of {n}")
def rng(monkeypatch, request):
    monkeypatch.setattr(duplicates, "_SEGMENT_ROWS", request.param)
    return np.random.default_rng(request.param)


def files_of(folder, keys, *, second=None, days=None, n_pieces=3):
    """Write records of rows that came in this order, in pieces; a row's place is its number."""
    second = np.zeros_like(keys) if second is None else second
    days = np.zeros(keys.size, np.int32) if days is None else days
    paths = []
    for piece, rows in enumerate(np.array_split(np.arange(keys.size), n_pieces)):
        records = RowRecords(folder / f"{piece}.bin", piece)
        for part in np.array_split(rows, 4):
            records.append(
                keys=keys[part],
                second=second[part],
                places=part,
                ranks=part - rows[:1].sum(),
                days=days[part],
            )
        records.end()
        paths.append(records.path)
    return paths


@pytest.mark.parametrize("n_shares", [1, 4, 64])
@pytest.mark.parametrize("n_distinct", [1, 50, 1900, 2**40])
def test_all_but_the_first_of_equal_ids_are_duplicates(tmp_path, rng, n_shares, n_distinct):
    """However many shares over however many segments and pieces; the extreme keys too."""
    keys = rng.integers(0, n_distinct, 500).astype(np.uint64) * np.uint64(2**64 // n_distinct - 1)
    keys[[5, 420, 490]] = np.iinfo(np.uint64).max
    paths = files_of(tmp_path, keys)
    found = np.concatenate([find_duplicates(paths, share, n_shares) for share in range(n_shares)])
    seen: Counter[int] = Counter()
    expected = []
    for row, key in enumerate(keys.tolist()):
        expected += [row] if seen[key] else []
        seen[key] += 1
    assert sorted(found["place"].tolist()) == expected


def test_ids_of_one_hash_are_told_apart_by_the_second(tmp_path, rng):
    """Equal in both is equal; and a record says where its row is."""
    keys, second = np.array([7, 7, 7, 7], np.uint64), np.array([1, 2, 2, 1], np.uint64)
    found = find_duplicates(files_of(tmp_path, keys, second=second, n_pieces=2), 0, 1)
    assert sorted(found[["piece", "rank", "place"]].tolist()) == [(1, 0, 2), (1, 1, 3)]


def test_rows_of_days_that_are_left_out_do_not_count(tmp_path, rng):
    """Neither as the first of equal ids nor as a repetition."""
    keys, days = np.full(5, 9, np.uint64), np.array([3, 1, 3, 1, 2], np.int32)
    found = find_duplicates(files_of(tmp_path, keys, days=days), 0, 1, [3])
    assert found["place"].tolist() == [3, 4]


def test_all_records_of_a_day(tmp_path, rng):
    """Whatever their ids; also where there are no ids."""
    days = rng.integers(-2, 4, 300).astype(np.int32)
    paths = files_of(tmp_path, rng.integers(0, 2**63, 300).astype(np.uint64), days=days)
    found = records_of_days(paths, [-2, 3])
    assert sorted(found["place"].tolist()) == np.flatnonzero(np.isin(days, [-2, 3])).tolist()


def test_no_rows_have_no_duplicates(tmp_path, rng):
    """An empty file is read like any other."""
    paths = files_of(tmp_path, np.zeros(0, np.uint64))
    assert find_duplicates(paths, 0, 1).size == 0
    assert records_of_days(paths, [0]).size == 0
