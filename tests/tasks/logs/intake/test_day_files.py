"""Rows to one file per day, with and without threads that write."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tasks.logs.intake.day_files import DAY, DayFiles
from tasks.logs.log import TIME
from tasks.schema import Schema

SCHEMA = Schema.from_dict(
    {"name": "shop", "label": "click", "time": {"column": "at", "format": "iso"}, "fields": {"os": {}}}
)  # fmt: skip


def batch_of(days):
    """Return a row for each day, one after the other within it."""
    ticks = np.array(days) * DAY + np.arange(len(days))
    os = pa.array([f"v{n % 3}" for n in range(len(days))]).dictionary_encode()
    columns = [pa.array(np.arange(len(days)) % 2, pa.int8()), pa.array(ticks).view(TIME), os]
    return pa.RecordBatch.from_arrays(columns, names=["click", "at", "os"])


def written(folder, batches, n_threads):
    """Return the days after some batches."""
    folder.mkdir()
    files = DayFiles(folder, SCHEMA, n_threads=n_threads)
    for days in batches:
        files.add(batch_of(days), keys=None)
    files.flush()
    return files.days


@pytest.mark.parametrize("batches", [[[1, 1, 2], [2, 2], [3, 3], [4]], [[2, 1], [3], [1, 2]]])
def test_threads_change_nothing(batches, tmp_path):
    """The same files with the same bytes, for rows in order of time and others."""
    alone = written(tmp_path / "alone", batches, 0)
    beside = written(tmp_path / "beside", batches, 2)
    assert list(alone) == list(beside)
    for one, other in zip(alone.values(), beside.values(), strict=True):
        assert one.digest == other.digest
        assert len(one.runs) == len(other.runs)
        for mine, theirs in zip(one.runs, other.runs, strict=True):
            assert mine.path.read_bytes() == theirs.path.read_bytes()


def test_a_day_is_ended_when_a_later_one_has_come(tmp_path):
    """Its file is final; a row that comes late begins another file of its day, and from then on days wait for the end."""
    days = written(tmp_path / "log", [[1, 1], [2], [1], [3], [4]], 0)
    assert [run.n_rows for run in days[1].runs] == [2, 1]
    assert [len(days[number].runs) for number in (2, 3, 4)] == [1, 1, 1]
    assert [days[number].is_final for number in (1, 2, 3, 4)] == [False, True, True, True]
    assert all(Path(run.path).is_file() for day in days.values() for run in day.runs)
