"""One Parquet file: its bytes follow from its rows, not from the batches in which they came."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.logs.intake import part_writer
from tasks.logs.intake.part_writer import PartWriter
from tasks.logs.log import CODES


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    monkeypatch.setattr(part_writer, "GROUP_ROWS", 30)


def batch_of(values, first=0):
    """Return rows whose dictionary is in another order than they are, and holds values that no row has."""
    words = ["unused", *sorted({value for value in values if value}, reverse=True), "no row"]
    codes = [None if value is None else words.index(value) for value in values]
    coded = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(words))
    numbers = np.arange(first, first + len(values))
    return pa.RecordBatch.from_arrays(
        [pa.array((numbers % 3 == 0).astype(np.int8)), pa.array(numbers / 7), coded.cast(CODES)],
        names=["click", "w", "site"],
    )


VALUES = [None if n % 11 == 0 else f"s{n * n % 17}" for n in range(100)]


def written(path, cuts, pool=None):
    writer = PartWriter(path, label="click", weight="w", pool=pool)
    bounds = [0, *cuts, len(VALUES)]
    for low, high in pairwise(bounds):
        writer.add(batch_of(VALUES[low:high], low))
    writer.end()
    return writer


@pytest.mark.parametrize("cuts", [[1], [30, 60], [29, 31, 90], list(range(1, 100))])
def test_bytes_do_not_depend_on_the_batches(cuts, tmp_path):
    """Nor do the sums of weights, to the last digit."""
    one, other = written(tmp_path / "a.parquet", []), written(tmp_path / "b.parquet", cuts)
    assert one.path.read_bytes() == other.path.read_bytes()
    assert (one.n_rows, one.weight, one.weight_clicks) == (100, other.weight, other.weight_clicks)


def test_rows_are_what_came_in_groups_of_one_size(tmp_path):
    """Each group's dictionary has the values of its rows, in order of appearance."""
    path = written(tmp_path / "a.parquet", [50]).path
    with pq.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
        group = file.read_row_group(1).column("site").combine_chunks()
    assert sizes == [30, 30, 30, 10]
    assert pq.read_table(path).column("site").to_pylist() == VALUES
    assert group.dictionary.to_pylist() == list(dict.fromkeys(filter(None, VALUES[30:60])))


def test_weights_are_summed(tmp_path):
    """Over all rows, and over clicks."""
    writer = written(tmp_path / "a.parquet", [])
    assert writer.weight == pytest.approx(sum(range(100)) / 7)
    assert writer.weight_clicks == pytest.approx(sum(range(0, 100, 3)) / 7)


def test_what_waits_is_dropped_by_close(tmp_path):
    """After a failure; without a group there is no file."""
    writer = PartWriter(tmp_path / "a.parquet", label="click")
    writer.add(batch_of(VALUES[:5]))
    assert (writer.n_waiting, writer.is_open) == (5, False)
    writer.close()
    assert not writer.path.exists()


def test_rows_taken_out_of_a_batch_keep_nothing_of_it():
    """One stray row in each block of a large log would else hold all of its blocks in memory."""
    batch = batch_of(VALUES)
    few = part_writer.detached(batch.slice(3, 2))
    assert few.to_pylist() == batch.slice(3, 2).to_pylist()
    assert few.get_total_buffer_size() < batch.get_total_buffer_size() / 5


def test_a_thread_that_writes_changes_nothing(tmp_path):
    """Bytes and sums are those of a writer without one."""
    alone = written(tmp_path / "a.parquet", [29, 31, 90])
    with ThreadPoolExecutor(2) as pool:
        beside = written(tmp_path / "b.parquet", [29, 31, 90], pool)
    assert alone.path.read_bytes() == beside.path.read_bytes()
    assert (alone.weight, alone.weight_clicks) == (beside.weight, beside.weight_clicks)
