"""A run of monitoring over the service's own lines, and everything that can happen to it."""

import errno
import os
from datetime import timedelta

import msgspec
import numpy as np
import pytest
from botocore.exceptions import ClientError

from tasks.errors import ConfigError, DiskFullError, InputError, UnavailableError
from tasks.knobs.reading import read_env
from tasks.monitoring import report
from tasks.monitoring.record import read_record, write_record
from tasks.monitoring.spool import Spool
from tasks.schema import load_schema
from tests.conftest import ROOT
from tests.tasks.monitoring.conftest import NOW, Traffic, write

SCHEMA = load_schema("avazu")


@pytest.fixture
def run(tmp_path, reference, settings_of):
    """Return the record of a run; its state stays for the next."""

    def once(**changes):
        return report.monitor(settings_of(**changes), reference, SCHEMA, tmp_path / "state")[0]

    return once


@pytest.fixture
def served(tmp_path, traffic):
    """Write a day: two files of exposures, two of clicks, and return the traffic."""
    lines, clicks = traffic.lines(), traffic.clicks()
    write(
        tmp_path / "exposures" / "day=2026-03-01",
        ("a.jsonl", lines[:4000]),
        ("b.jsonl", lines[4000:]),
    )
    write(tmp_path / "clicks", ("a.jsonl", clicks[::2]), ("b.jsonl", clicks[1::2]))
    return traffic


def plain(record):
    """Return a record as data."""
    return msgspec.to_builtins(record, enc_hook=float)


def kinds(record):
    """Return kind and subject of each alert."""
    return [(one.kind, one.subject) for one in record.alerts]


def test_the_figures_are_those_of_the_traffic(run, served):
    """Every exposure and click is used once; predictions that are right bring no alert."""
    record = run()
    late = served.second + served.delay > 24 * 3600 + 60
    n_clicks = int((served.clicked & ~late).sum())
    assert record.counts["exposures_used"] == len(served.second)
    assert record.counts["clicks_attributed"] == n_clicks
    assert record.counts["clicks_in_future"] == int((served.clicked & late).sum())
    assert record.delay.mean_s == pytest.approx(300, rel=0.1)
    assert record.alerts == []
    mature = served.second < (23 - 1) * 3600
    whole = record.parts("all")[0]
    assert whole.n_exposures == pytest.approx(mature.sum(), abs=700)
    assert {one.name for one in record.parts("variant")} == {"champion v1", "challenger v1"}
    assert 0 < record.delay.n_open_clicks < 100


def test_the_record_is_read_back_as_it_was_written(run, served, tmp_path):
    """Typed, null where a number is undefined."""
    record = run()
    write_record(tmp_path / "monitor.json", record)
    assert plain(read_record(tmp_path / "monitor.json")) == plain(record)


def test_a_run_killed_anywhere_gives_the_same_figures_when_run_again(
    run, served, monkeypatch, tmp_path, reference, settings_of
):
    """Stopped before each of its files in turn; what a killed process left behind is no obstacle."""
    whole = Spool._write
    for n_files in (0, 1, 1, 1):
        left = iter(range(n_files))

        def stop(self, file, table, n_unreadable, left=left):
            if next(left, None) is None:
                (self.folder / ".half.partial").parent.mkdir(parents=True, exist_ok=True)
                (self.folder / ".half.partial").write_bytes(b"x")
                raise KeyboardInterrupt
            whole(self, file, table, n_unreadable)

        monkeypatch.setattr(Spool, "_write", stop)
        with pytest.raises(KeyboardInterrupt):
            report.monitor(settings_of(), reference, SCHEMA, tmp_path / "state")
    monkeypatch.setattr(Spool, "_write", whole)
    again = run()
    fresh, _ = report.monitor(settings_of(), reference, SCHEMA, tmp_path / "other")
    assert plain(again) == plain(fresh) == plain(run())
    assert not list((tmp_path / "state").rglob("*.partial"))


def test_a_full_disk_is_one_line_and_running_again_resumes(run, served, monkeypatch):
    """The figures are those of a run that was never disturbed."""
    real, calls = os.fsync, iter(range(100))

    def full(descriptor):
        if next(calls) == 2:
            raise OSError(errno.ENOSPC, "full")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match="free some space"):
        run()
    assert run().counts["exposures_used"] == len(served.second)


def test_a_store_that_is_away_can_be_read_later(run, served, monkeypatch):
    """One line and the code that schedulers retry."""

    class Away:
        def get_paginator(self, _):
            raise ClientError({"Error": {"Code": "SlowDown"}}, "ListObjectsV2")

    monkeypatch.setattr("tasks.monitoring.sources.s3_client", Away)
    with pytest.raises(UnavailableError, match="cannot be reached just now"):
        run(clicks="s3://bucket/clicks")
    assert run().counts["clicks_attributed"] > 0


def test_files_that_were_cut_grow_rotate_and_go(run, served, tmp_path):
    """A cut line is counted and read when it is whole; a copy under another name, and what was removed, count once."""
    lines = served.lines()
    path = tmp_path / "exposures" / "day=2026-03-01" / "b.jsonl"
    path.write_bytes(b"".join(lines[4000:])[:-20])
    first = run().counts
    assert first["exposures_unreadable"] == 1 and first["exposures_used"] == len(lines) - 1
    path.write_bytes(b"".join(lines[4000:]))
    assert run().counts["exposures_used"] == len(lines)
    path.rename(path.with_suffix(".jsonl.1"))
    (tmp_path / "clicks" / "a.jsonl").unlink()
    last = run().counts
    assert last["exposures_used"] == len(lines)
    assert last["exposures_duplicate"] == len(lines) - 4000
    assert last["clicks_attributed"] == first["clicks_attributed"] + int(
        served.clicked[-1] and served.second[-1] + served.delay[-1] <= 24 * 3600 + 60
    )


def test_a_clock_that_jumps_changes_nothing_else(run, served, tmp_path):
    """Exposures and clicks of another year are counted, and the figures of the others stay."""
    before = run()
    encoded = Traffic(n_hours=1, n_per_hour=50, seed=2).lines()
    jumped = [
        line.replace(b':"r', b':"j').replace(b"2026-03-01", b"2031-03-01") for line in encoded
    ]
    write(tmp_path / "exposures", ("jump.jsonl", jumped))
    write(
        tmp_path / "clicks",
        ("jump.jsonl", [b'{"request_id": "r1", "clicked_utc": "2031-01-01T00:00:00"}\n']),
    )
    after = run()
    assert after.counts["exposures_in_future"] == 50
    assert after.counts["clicks_in_future"] == before.counts["clicks_in_future"] + 1
    assert plain(after)["quality"] == plain(before)["quality"]


def test_a_day_without_traffic_is_said(run, tmp_path, traffic):
    """After a day with some: an alert; without any at all: a record without figures."""
    write(tmp_path / "exposures")
    write(tmp_path / "clicks")
    nothing = run()
    assert nothing.parts("all")[0].n_exposures == 0 and nothing.drift == nothing.alerts == []
    write(tmp_path / "exposures", ("a.jsonl", traffic.lines()))
    next_day = round((NOW + timedelta(hours=20)).timestamp() * 1e6)
    found = run(now_us=next_day, span_hours=48).alerts
    assert ("traffic", "all") in [(one.kind, one.subject) for one in found]
    assert next(one for one in found if one.kind == "traffic").first_utc == "2026-03-02T00:00:00Z"


def test_a_day_of_one_class_is_said(run, served, tmp_path):
    """Clicks that are lost are an alert; that no delay can be fitted is none."""
    for path in (tmp_path / "clicks").iterdir():
        path.unlink()
    record = run()
    assert record.delay is None
    assert ("calibration", "champion v1") in kinds(record)
    assert record.parts("all")[0].calibration_ratio_low is not None


def test_a_variant_without_exposures_is_said(run, tmp_path):
    """From the hour on in which it got none."""
    traffic = Traffic()
    traffic.variant[traffic.second > 15 * 3600] = "champion"
    write(tmp_path / "exposures", ("a.jsonl", traffic.lines()))
    write(tmp_path / "clicks", ("a.jsonl", traffic.clicks()))
    record = run()
    assert kinds(record) == [("variant_share", "challenger")]
    assert record.alerts[0].first_utc == "2026-03-01T15:00:00Z"


def test_a_drift_is_found_in_its_hour(run, tmp_path):
    """New values, and a mix that changed, from 15 o'clock on."""
    traffic = Traffic()
    later = (traffic.second > 15 * 3600) & (np.arange(len(traffic.second)) % 2 == 0)
    traffic.place[later] = "new"
    write(tmp_path / "exposures", ("a.jsonl", traffic.lines()))
    write(tmp_path / "clicks", ("a.jsonl", traffic.clicks()))
    found = [one for one in run().alerts if one.subject == "place"]
    assert {one.kind for one in found} == {"psi", "unseen"}
    assert {one.first_utc for one in found} == {"2026-03-01T15:00:00Z"}
    assert all(one.is_open for one in found)


def test_a_file_that_is_none_is_left_out_with_a_note(run, served, tmp_path):
    """The others are read."""
    write(tmp_path / "exposures", ("x.parquet", [b"PAR1 no"]))
    record = run()
    assert "x.parquet" in record.notes[0] and record.counts["exposures_used"] == len(served.second)


def test_missing_addresses_are_one_line(run, tmp_path):
    """A folder that does not exist, or none named."""
    with pytest.raises(InputError, match="name the folder that the service writes to"):
        run(exposures=str(tmp_path / "nowhere"))
    knobs = read_env(ROOT / "env.yaml", ask_models=False)["monitor"]
    with pytest.raises(ConfigError, match=r"monitor.exposures is null"):
        report.Settings.from_knobs(knobs)
