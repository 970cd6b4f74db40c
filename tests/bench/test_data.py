"""The bench's data: the same rows in every form."""

import csv

import pytest

from bench import data
from tasks.errors import ClicklabError, ConfigError
from tasks.logs.log import Log
from tasks.schema import load_schema

FIELDS = 21


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """The smallest data that the bench takes."""
    return data.prepare(data.MIN_ROWS, folder=tmp_path_factory.mktemp("bench"))


def test_the_last_day_is_held_out(small):
    """Train and test are all rows, and test is the whole last day."""
    log = Log.open(small.folder / "log")
    assert small.n_train + small.n_test == data.MIN_ROWS
    assert small.n_test == list(log.rows_by_day.values())[-1]


@pytest.mark.parametrize("part", ["train", "test"])
def test_csv_and_vw_text_hold_the_rows_of_the_log(small, part):
    """Row by row, the same label and the same 22 values; what is missing is the constant of the raw log."""
    constants = {spec.name: spec.missing for spec in load_schema("avazu").fields}
    log = Log.open(small.folder / "log")
    span = {"train": (0, small.n_train), "test": (small.n_train, log.n_rows)}[part]
    batches = log.batches(start=span[0], stop=span[1])
    expected = [row for batch in batches for row in batch.to_pylist()]
    with (small.folder / f"{part}.csv").open(newline="") as lines:
        found = list(csv.DictReader(lines))
    vw = (small.folder / f"{part}.vw").read_text().splitlines()
    assert len(found) == len(vw) == len(expected)
    for row, csv_row, line in zip(expected, found, vw, strict=True):
        hour = row.pop("hour")
        row.pop("p_true")
        row = {name: constants.get(name) if value is None else value for name, value in row.items()}
        label, tokens = line.split(" | ")
        assert {**csv_row} == {k: str(v) for k, v in row.items()} | {"hour": f"{hour:%y%m%d%H}"}
        assert label == ("1" if row["click"] else "-1")
        values = [str(v) for k, v in row.items() if k not in ("id", "click")]
        assert [token[1:] for token in tokens.split()] == [*values, str(hour.hour)]
        assert len({token[0] for token in tokens.split()}) == FIELDS + 1


def test_data_is_made_once(small):
    """What is there and still fits is taken as it is."""
    before = (small.folder / "train.csv").stat().st_mtime_ns
    again = data.prepare(data.MIN_ROWS, folder=small.folder.parent)
    assert again == small
    assert (small.folder / "train.csv").stat().st_mtime_ns == before


def test_data_of_another_simulator_is_made_anew(small, monkeypatch):
    """A changed simulator leaves nothing stale."""
    monkeypatch.setattr(data, "_maker_digest", lambda: "other")
    made = []
    monkeypatch.setattr(data, "_make", lambda *_: made.append(1) or {"n_train": 1, "n_test": 1})
    monkeypatch.setattr(data.shutil, "rmtree", lambda *_, **__: None)
    meta = (small.folder / "meta.json").read_text()
    try:
        data.prepare(data.MIN_ROWS, folder=small.folder.parent)
    finally:
        (small.folder / "meta.json").write_text(meta)
    assert made


def test_too_few_rows_are_refused(tmp_path):
    """A bench of nothing would print numbers that mean nothing."""
    with pytest.raises(ConfigError, match="at least 10,000"):
        data.prepare(10, folder=tmp_path)


def test_a_full_disk_is_said_before_anything_is_written(tmp_path):
    """The line says how much is needed and how much there is."""
    with pytest.raises(ClicklabError, match=r"GB are needed, .* GB are free"):
        data.prepare(10**12, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
