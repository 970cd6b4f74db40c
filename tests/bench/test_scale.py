"""The scale bench: every stage measured, files gone afterwards, a figure."""

import pytest

from bench import scale
from bench.scale_figure import draw
from bench.scale_stages import STAGES


def stage(n_rows, *, seconds, peak_bytes=2**29):
    """Return what a stage of that cost would report."""
    speed = n_rows / seconds
    return {"wall_s": seconds, "rows_per_s": speed, "peak_rss_bytes": peak_bytes, "disk_bytes": 1}


def test_a_slower_or_larger_stage_is_marked():
    """Four fifths of the smallest log's speed, and 1.5 GiB, are the bounds."""
    assert "ok" in scale._verdict(1.4 * 2**30, 0.81)
    assert "memory" in scale._verdict(1.5 * 2**30, 1.0)
    assert "slower" in scale._verdict(2**20, 0.79)


def test_the_figure_is_the_same_file_each_time(tmp_path):
    """It is committed, so the same numbers must give the same bytes."""
    found = {n: dict.fromkeys(STAGES, stage(n, seconds=n / 1e6)) for n in (10**6, 4 * 10**6)}
    for name in ("one.svg", "two.svg"):
        draw(found, tmp_path / name, max_peak_bytes=2**30)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_a_log_too_small_or_a_disk_too_full_is_one_line(capsys, tmp_path):
    """Nothing starts, and the line says why."""
    assert scale.main(["--millions", "0.001", "--folder", str(tmp_path)]) == 3
    assert "use at least 10,000" in capsys.readouterr().err
    assert scale.main(["--millions", "1e7", "--folder", str(tmp_path)]) == 1
    assert "GB are needed" in capsys.readouterr().err


@pytest.mark.slow
def test_a_small_log_goes_through_every_stage(tmp_path):
    """Each stage is measured and nothing is left on the disk."""
    found = scale.measure(tmp_path, 20_000, 18, lambda _: None)
    assert list(found) == list(STAGES)
    assert found["ingest"]["n_rows"] == found["hash"]["n_rows"] == 20_000
    assert 0.3 < found["evaluate"]["log_loss"] < 0.52
    assert all(cost["peak_rss_bytes"] > 2**26 for cost in found.values())
    assert list(tmp_path.iterdir()) == []
