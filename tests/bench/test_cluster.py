"""The cluster bench: the same log from every engine, and a row for each."""

import pytest

from bench import cluster, data


@pytest.mark.slow
def test_a_small_log_is_measured(tmp_path, monkeypatch, capsys):
    """One process and one worker."""
    pytest.importorskip("distributed", reason="the extra clicklab[dask] is not installed")
    monkeypatch.setattr(cluster, "prepare", lambda rows: data.prepare(rows, folder=tmp_path))
    assert cluster.main(["--rows", "10000", "--workers", "1", "--rounds", "1"]) == 0
    shown = capsys.readouterr().out
    assert "one process" in shown
    assert "1 workers" in shown
