"""The bench of features runs, and requests get the codes of the batch."""

import json

import pytest

from bench import features


@pytest.mark.slow
def test_the_bench_compares_the_same_rows(tmp_path, monkeypatch):
    """On few rows: three ratios of each kind, and no row that differs."""
    monkeypatch.setattr(features, "RESULT", tmp_path / "features.json")
    monkeypatch.setattr(features, "_N_REQUESTS", 20)
    monkeypatch.setattr(
        "sys.argv", ["features", "--rows", "2000", "--runs", "1", "--parity-rows", "500"]
    )
    features.main()
    found = json.loads((tmp_path / "features.json").read_text())
    names = ["none", "three", "three and one of device_ip"]
    assert list(found["hashing_ratio"]) == list(found["predict_ratio"]) == names
    assert found["hashing_ratio"]["none"] == found["predict_ratio"]["none"] == 1
    assert found["parity"] == {"rows": 500, "differing": 0}
    assert set(found["survey"]) == {"hour_of_day", "ad_format", "ad_area", "place", "ip_block"}
