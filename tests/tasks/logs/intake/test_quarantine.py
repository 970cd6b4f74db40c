"""Quarantine: the same file however its rows came, and what it says of a refused log."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.logs.intake import quarantine
from tasks.logs.intake.canonical import BadRow
from tasks.logs.intake.quarantine import Quarantine, is_hopeless

ROWS = [BadRow("a.csv", n, f"reason {n % 3}", str(n), "x" * (n % 40)) for n in range(1, 95)]


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    monkeypatch.setattr(quarantine, "_CHUNK", 10)
    monkeypatch.setattr(quarantine, "_CHUNK_BYTES", 200)


def filled(path: Path, size: int) -> Quarantine:
    found = Quarantine(path)
    for first in range(0, len(ROWS), size):
        found.add(ROWS[first : first + size])
    found.close()
    return found


@pytest.mark.parametrize("size", [1, 7, 94])
def test_bytes_do_not_depend_on_the_batches(size, tmp_path):
    """Nor on whether rows come from files of other quarantines."""
    whole = filled(tmp_path / "a.parquet", 3)
    other = filled(tmp_path / "b.parquet", size)
    joined = Quarantine(tmp_path / "c.parquet")
    joined.add(ROWS[:20])
    later = Quarantine(tmp_path / "d.parquet")
    later.add([BadRow(row.file, row.row - 20, *row_rest(row)) for row in ROWS[20:]])
    later.close()
    joined.add_file(later.path, n_lines=20)
    joined.close()
    expected = whole.path.read_bytes()
    assert other.path.read_bytes() == joined.path.read_bytes() == expected
    assert whole.reasons.most_common() == joined.reasons.most_common()


def row_rest(row: BadRow) -> tuple[str, str, str]:
    return row.reason, row.value, row.text


def test_the_first_rows_of_another_one(tmp_path):
    """As many as asked for, over its row groups."""
    filled(tmp_path / "a.parquet", 5)
    part = Quarantine(tmp_path / "b.parquet")
    part.add_file(tmp_path / "a.parquet", n_rows=33)
    part.close()
    assert pq.read_table(part.path).column("row").to_pylist() == list(range(1, 34))
    assert part.n_rows == 33


def test_rows_of_the_log_keep_their_values(tmp_path):
    """Joined as text; an empty value is empty."""
    batch = pa.RecordBatch.from_pydict({"id": ["7", "8"], "n": [1.5, None]})
    found = Quarantine(tmp_path / "a.parquet")
    found.add_batch(batch, files=pa.array(["f", "f"]), rows=[3, 4], reason="twice", column="id")
    found.close()
    assert pq.read_table(found.path).to_pylist() == [
        {"file": "f", "row": 3, "reason": "twice", "value": "7", "text": "7,1.5"},
        {"file": "f", "row": 4, "reason": "twice", "value": "8", "text": "8,"},
    ]


def test_a_refusal_names_the_first_row_of_the_commonest_reason(tmp_path):
    """And how many there are, of how many."""
    found = filled(tmp_path / "a.parquet", 5)
    error = found.refusal("log", n_rows_in=200, max_bad_share=0.1, kept_at=tmp_path, stopped=True)
    assert str(error).startswith(
        "log: 94 of the first 200 rows are bad (47.0%, allowed 10.0%); "
        "most often: reason 1 (32 rows, such as '1' in row 1 of a.csv)"
    )


@pytest.mark.parametrize(
    ("n_bad", "n_rows_in", "share", "expected"),
    [
        (100_000, 100_000, 0.01, False),
        (100_001, 100_001, 0.01, True),
        (100_001, 600_000, 0.01, False),
        (300_000, 600_000, 0.6, False),
    ],
)
def test_hopeless_is_many_and_a_large_share(n_bad, n_rows_in, share, expected):
    """A few bad rows at the beginning of a log say nothing."""
    assert is_hopeless(n_bad, n_rows_in, share) == expected
