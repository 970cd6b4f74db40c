"""Feature sets on disk: deterministic parts, resuming, refusing what is damaged."""

import json

import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import ContractError, InputError
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import encode_batch
from tasks.hashing.feature_set import FeatureSet
from tasks.hashing.parts import Parts, runs
from tasks.hashing.store import write_features
from tasks.schema import Schema

RAW = {
    "name": "tiny",
    "label": "click",
    "time": {"column": "when", "format": "iso"},
    "features": ["hour_of_day"],
    "fields": {"site": {}, "size": {}},
    "crosses": [["site", "size"]],
}
CONTRACT = HashContract.from_schema(Schema.from_dict(RAW), bits=16)


class FakeLog:
    """A log in memory whose batches come in awkward sizes; it remembers which rows were read."""

    def __init__(self, n_rows=1000, sizes=(7, 130, 1, 64), digest="d1"):
        rng = np.random.default_rng(5)
        self.table = pa.table(
            {
                "site": pa.array(
                    [f"s{i}" for i in rng.integers(0, 90, n_rows)]
                ).dictionary_encode(),
                "unused": pa.array(np.zeros(n_rows)),
                "size": pa.array(rng.integers(0, 9, n_rows)),
                "click": pa.array(rng.integers(0, 2, n_rows).astype(np.int8)),
                "when": pa.array(np.datetime64("2014-10-21T00", "ms") + np.arange(n_rows) * 60_000),
            }
        )
        self.sizes = sizes
        self.manifest = {"digest": digest, "source": "memory"}
        self.n_rows = n_rows
        self.rows_by_day, self.rows_by_hour = {}, {}  # so it is split by row
        self.spans = []

    def batches(self, columns=None, batch_rows=65_536, start=0, stop=None):
        stop = self.n_rows if stop is None else stop
        self.spans.append((start, stop))
        turn = 0
        while start < stop:
            size = min(self.sizes[turn % len(self.sizes)], stop - start)
            yield self.table.select(columns).slice(start, size).combine_chunks().to_batches()[0]
            start, turn = start + size, turn + 1


def write(folder, log=None, span=(0, 1000), batch_rows=128, contract=CONTRACT, **options):
    return write_features(log or FakeLog(), span, contract, folder, batch_rows, **options)


def part_bytes(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("part-*"))}


def test_rows_come_back_in_order_and_aligned(tmp_path):
    """Codes, labels and times of the span, whatever sizes the log was read in."""
    log = FakeLog()
    written = write(tmp_path, log, span=(100, 950))
    features = FeatureSet(tmp_path)
    rows = log.table.slice(100, 850)
    loaded = features.load()
    assert (written.n_rows, written.n_parts, written.n_skipped) == (850, 7, 0)
    assert (features.n_rows, features.n_batches) == (850, 7)
    assert (loaded.codes == encode_batch(rows, CONTRACT)).all()
    assert loaded.label.tolist() == rows["click"].to_pylist()
    assert (loaded.time == rows["when"].to_numpy()).all()
    assert features.label_rate == pytest.approx(loaded.label.mean())
    assert features.contract == CONTRACT
    assert features.manifest["log_digest"] == "d1"
    ends = rows["when"].cast(pa.int64()).to_pylist()  # milliseconds
    assert features.manifest["times"] == [ends[0] * 1000, ends[-1] * 1000 + 999]


def test_batches_are_views_of_the_files(tmp_path):
    """Memory-mapped: read-only, contiguous, of the promised types, the promised number of rows each."""
    write(tmp_path)
    batches = list(FeatureSet(tmp_path).batches())
    assert [len(batch.label) for batch in batches] == [128] * 7 + [104]
    for batch in batches:
        assert (batch.codes.dtype, batch.label.dtype, batch.time.dtype) == (
            "int32",
            "uint8",
            "datetime64[ms]",
        )
        assert batch.codes.flags.c_contiguous
        assert not any(array.flags.owndata or array.flags.writeable for array in batch[:3])
        assert batch.weight is None


@pytest.mark.parametrize("n_rows", [0, 1, 128, 200, 1000, 5000])
def test_head_is_the_beginning(tmp_path, n_rows):
    """At most all rows, across parts."""
    write(tmp_path)
    features = FeatureSet(tmp_path)
    head, loaded = features.head(n_rows), features.load()
    assert all(
        (part == whole[:n_rows]).all() for part, whole in zip(head[:3], loaded[:3], strict=True)
    )
    assert head.weight is loaded.weight is None
    assert len(head.label) == min(n_rows, 1000)


def test_parts_do_not_depend_on_how_the_log_was_read(tmp_path):
    """The same plan gives the same bytes."""
    write(tmp_path / "a", FakeLog(sizes=(7, 130, 1, 64)))
    write(tmp_path / "b", FakeLog(sizes=(1000,)))
    write(tmp_path / "c", FakeLog(sizes=(128,)))
    assert part_bytes(tmp_path / "a") == part_bytes(tmp_path / "b") == part_bytes(tmp_path / "c")


def test_a_killed_run_goes_on(tmp_path):
    """Finished parts are kept, only the rows of the others are read, the result is the same."""
    write(tmp_path / "whole")

    def stop_at_third(n_done, n_rows):
        if n_done > 300:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "killed", progress=stop_at_third)
    with pytest.raises(InputError, match="no complete feature set"):
        FeatureSet(tmp_path / "killed")
    log = FakeLog()
    written = write(tmp_path / "killed", log)
    assert (written.n_parts, written.n_skipped) == (8, 3)
    assert log.spans == [(384, 1000)]
    assert part_bytes(tmp_path / "killed") == part_bytes(tmp_path / "whole")
    assert FeatureSet(tmp_path / "killed").manifest == FeatureSet(tmp_path / "whole").manifest


def test_holes_and_damaged_parts_are_filled(tmp_path):
    """A lost, a cut and a foreign part are written again, the rest is not read."""
    write(tmp_path)
    before = part_bytes(tmp_path)
    (tmp_path / "part-000001.arrow").unlink()
    (tmp_path / "part-000002.arrow").write_bytes(before["part-000002.arrow"][:500])
    (tmp_path / "part-000005.arrow").write_bytes(b"no arrow file")
    (tmp_path / ".part-000005.arrow.x.partial").write_bytes(b"left by a killed run")
    log = FakeLog()
    assert write(tmp_path, log).n_skipped == 5
    assert log.spans == [(128, 384), (640, 768)]
    assert part_bytes(tmp_path) == before
    assert not list(tmp_path.glob(".part-*"))


def test_processes_share_the_writing(tmp_path):
    """Each writes its share of the missing parts and leaves the others' partial files alone."""
    write(tmp_path / "alone")
    for share in (0, 1):
        parts = Parts(FakeLog(), (0, 1000), CONTRACT, tmp_path / "shared", 128)
        parts.begin(is_shared=True)
        mine = [number for number in parts.missing() if number % 2 == share]
        assert len(mine) == 4
        assert [sum(parts.write(*run)) for run in runs(mine)] == [parts.sizes[i] for i in mine]
        (tmp_path / "shared" / ".part-000007.arrow.x.partial").write_bytes(b"under way")
    assert (tmp_path / "shared" / ".part-000007.arrow.x.partial").exists()
    assert write(tmp_path / "shared").n_skipped == 8
    assert part_bytes(tmp_path / "alone") == part_bytes(tmp_path / "shared")
    assert not (tmp_path / "shared" / ".part-000007.arrow.x.partial").exists()


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [([], []), ([4], [(4, 5)]), ([0, 1, 2], [(0, 3)]), ([1, 2, 5, 7, 8], [(1, 3), (5, 6), (7, 9)])],
)
def test_runs_of_numbers(numbers, expected):
    """First and one past last of each run."""
    assert list(runs(numbers)) == expected


def test_a_finished_set_is_not_read_again(tmp_path):
    """The same plan twice costs nothing."""
    write(tmp_path)
    log = FakeLog()
    written = write(tmp_path, log)
    assert (written.n_skipped, log.spans) == (8, [])


@pytest.mark.parametrize(
    "changed",
    [
        {"log": FakeLog(digest="d2")},
        {"span": (0, 999)},
        {"batch_rows": 64},
        {"contract": HashContract.from_schema(Schema.from_dict(RAW), bits=17)},
    ],
    ids=["log", "span", "batch_rows", "contract"],
)
def test_another_plan_keeps_nothing(tmp_path, changed):
    """Log, span, part size and contract each make the old parts useless."""
    write(tmp_path)
    written = write(tmp_path, **changed)
    assert written.n_skipped == 0
    assert len(part_bytes(tmp_path)) == written.n_parts
    assert FeatureSet(tmp_path).n_rows == written.n_rows


def test_a_part_of_another_plan_is_not_taken_for_finished(tmp_path):
    """Each part carries the digest of its plan."""
    write(tmp_path / "a")
    write(tmp_path / "b", FakeLog(digest="d2"))
    foreign = (tmp_path / "a" / "part-000003.arrow").read_bytes()
    (tmp_path / "b" / "part-000003.arrow").write_bytes(foreign)
    assert write(tmp_path / "b", FakeLog(digest="d2")).n_skipped == 7


def test_a_lost_or_cut_part_is_an_input_error(tmp_path):
    """What is opened is whole."""
    write(tmp_path)
    path = tmp_path / "part-000004.arrow"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"part-000004\.arrow: missing or truncated"):
        FeatureSet(tmp_path)


def test_a_foreign_contract_is_a_contract_error(tmp_path):
    """A feature set whose contract was changed is refused."""
    write(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["contract"]["bits"] = 17
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ContractError, match="changed by hand"):
        FeatureSet(tmp_path)


def test_no_rows_are_a_set(tmp_path):
    """An empty span gives empty arrays of the right shape."""
    assert write(tmp_path, span=(5, 5)).n_parts == 0
    features = FeatureSet(tmp_path)
    assert features.load().codes.shape == features.head(3).codes.shape == (0, 4)
    assert np.isnan(features.label_rate)


@pytest.mark.parametrize("span", [(-1, 5), (6, 5), (0, 1001)])
def test_rows_that_are_not_there_are_refused(tmp_path, span):
    """The span lies in the log."""
    with pytest.raises(InputError, match="do not exist in a log of 1000 rows"):
        write(tmp_path, span=span)


def test_a_log_that_ends_early_is_refused(tmp_path):
    """A manifest that promises more rows than there are does not make a complete set."""
    log = FakeLog()
    log.table = log.table.slice(0, 900)
    log.batches = lambda columns, batch_rows, start, stop: iter(
        log.table.select(columns).slice(start).to_batches()
    )
    with pytest.raises(InputError, match="the log gave 900 rows"):
        write(tmp_path, log)
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([0, 2] * 500), "must be 0 or 1, found 2"),
        (pa.array([0, None] * 500), "missing in 64 rows"),
        (pa.array(["no", "yes"] * 500), "must be 0 or 1"),
        (pa.array([0, -1] * 500), "must be 0 or 1"),
        (pa.array([0, 0.5] * 500), "must be 0 or 1"),
    ],
)
def test_a_label_is_zero_or_one(tmp_path, column, message):
    """Anything else is named before a model learns from it."""
    log = FakeLog(sizes=(128,))
    log.table = log.table.set_column(3, "click", column)
    with pytest.raises(InputError, match=message):
        write(tmp_path, log)


def test_progress_counts_to_the_end(tmp_path):
    """Called after each part, kept ones counted."""
    seen = []
    write(tmp_path, progress=lambda n_done, n_rows: seen.append((n_done, n_rows)))
    assert seen[0] == (128, 1000)
    assert seen[-1] == (1000, 1000)


def test_weights_come_back_with_their_rows(tmp_path):
    """In parts, head and whole; the click rate is that of impressions."""
    contract = HashContract.from_schema(Schema.from_dict(RAW | {"weight": "n"}), bits=16)
    log, weight = FakeLog(), np.random.default_rng(1).integers(1, 9, 1000).astype(float)
    log.table = log.table.append_column("n", pa.array(weight))
    write(tmp_path, log, contract=contract)
    features = FeatureSet(tmp_path)
    loaded = features.load()
    assert loaded.weight.tolist() == features.weights().tolist() == weight.tolist()
    assert features.head(200).weight.tolist() == weight[:200].tolist()
    assert len(features.head(0).weight) == 0
    assert features.label_rate == pytest.approx(np.average(loaded.label, weights=weight))
    assert features.manifest["n_clicks"] == loaded.label.sum()
    assert features.manifest["weight"] == weight.sum()


def test_a_log_without_weights_has_none(tmp_path):
    """Neither in its files nor in its plan."""
    write(tmp_path)
    features = FeatureSet(tmp_path)
    assert features.weights() is None
    assert not {"weight", "weight_clicks"} & {*features.manifest, *features.manifest["parts"][0]}
