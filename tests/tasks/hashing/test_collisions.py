"""The collision report, against counting with dictionaries."""

from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import ConfigError
from tasks.hashing import collisions
from tasks.hashing.collisions import TokenCounts, collision_report
from tasks.hashing.contract import HashContract
from tasks.schema import Schema
from tests import naive

RAW = {
    "name": "tiny",
    "label": "click",
    "time": {"column": "when", "format": "iso"},
    "features": ["hour_of_day"],
    "fields": {"site": {}, "size": {}},
    "crosses": [["site", "size"]],
}
CONTRACT = HashContract.from_schema(Schema.from_dict(RAW), bits=20)


@pytest.fixture
def batches():
    """Three batches with dictionaries of their own, values missing here and there."""
    rng = np.random.default_rng(11)
    found = []
    for n_rows in (400, 1, 300):
        sites = [None if i == 0 else f"s{i}" for i in rng.integers(0, 150, n_rows)]
        moments = np.datetime64("2014-10-21T00", "ms") + rng.integers(0, 10**8, n_rows)
        columns = {
            "site": pa.array(sites).dictionary_encode(),
            "size": pa.array(rng.integers(0, 5, n_rows)),
        }
        found.append(pa.record_batch(columns | {"when": pa.array(moments)}))
    return found


def counted(batches):
    """Count (token, column) by hand."""
    counts = Counter()
    for batch in batches:
        for row in batch.to_pylist():
            texts = {
                "site": row["site"] or "",
                "size": str(row["size"]),
                "hour_of_day": str(row["when"].hour),
            }
            counts.update(enumerate(naive.row_tokens(texts, RAW["crosses"])))
    return counts


@pytest.mark.parametrize("bits", [1, 6, 9, 20])
def test_shares_are_those_counted_by_hand(batches, bits):
    """Every number of the report, from few buckets to many."""
    counts = counted(batches)
    buckets = defaultdict(list)
    for (kind, token), n_rows in counts.items():
        buckets[abs(naive.murmur3(token.encode())) % 2**bits].append((kind, n_rows))
    shared = [held for held in buckets.values() if len(held) > 1]
    total = sum(counts.values())
    row = collision_report(batches, CONTRACT, [bits]).loc[bits]
    assert row["n_tokens"] == len(counts)
    assert row["n_occupied"] == len(buckets)
    assert row["colliding_share"] == pytest.approx(sum(map(len, shared)) / len(counts))
    assert row["colliding_rows_share"] == pytest.approx(
        sum(n for held in shared for _, n in held) / total
    )
    mixed = [held for held in shared if len({kind for kind, _ in held}) > 1]
    assert row["mixed_rows_share"] == pytest.approx(
        sum(n for held in mixed for _, n in held) / total
    )
    outvoted = sum(sum(n for _, n in held) - max(n for _, n in held) for held in shared)
    assert row["outvoted_rows_share"] == pytest.approx(outvoted / total)


def test_more_bits_collide_less(batches):
    """Every share falls; sizes come back sorted, once each."""
    report = collision_report(batches, CONTRACT, [20, 4, 12, 4])
    assert report.index.tolist() == [4, 12, 20]
    assert report.index.name == "bits"
    assert report["colliding_share"].is_monotonic_decreasing
    assert report["outvoted_rows_share"].is_monotonic_decreasing


def test_a_log_is_asked_for_its_columns(batches):
    """A log gives the same report as its batches, and only what has tokens is read."""

    class FakeLog:
        def batches(self, columns=None, batch_rows=65_536, start=0, stop=None):
            assert columns == ["site", "size", "when"]
            yield from batches

    assert collision_report(FakeLog(), CONTRACT, [8]).equals(
        collision_report(batches, CONTRACT, [8])
    )


def test_merging_now_and_then_changes_nothing(batches, monkeypatch):
    """Counts are merged when enough wait, which bounds the memory."""
    whole = collision_report(batches, CONTRACT, [8])
    monkeypatch.setattr(collisions, "_MERGE_TOKENS", 1)
    assert collision_report(batches, CONTRACT, [8]).equals(whole)


def test_counts_add_up():
    """The same token of two batches is one token, unseen dictionary entries are none."""
    counter = TokenCounts()
    counter.add(np.array([5, -7, 9, 5], dtype=np.int32), np.array([1, 2, 0, 3]))
    counter.add(np.array([-7], dtype=np.int32), np.array([10]))
    hashes, counts = counter.result()
    assert (hashes.tolist(), counts.tolist()) == ([-7, 5], [12, 4])


def test_no_rows_are_no_collisions(batches):
    """An empty log gives zeros, not NaN."""
    report = collision_report([batches[0].slice(0, 0)], CONTRACT, [8])
    assert (report == 0).all(axis=None)


@pytest.mark.parametrize("bits", [[], [0], [31]])
def test_impossible_bits_are_named(batches, bits):
    """The same range as the contract's."""
    with pytest.raises(ConfigError, match="1 to 30"):
        collision_report(batches, CONTRACT, bits)
