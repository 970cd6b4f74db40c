"""Simulated traffic is read by the reader of the service's exposures, and its clicks by ours."""

import pytest

from tasks.monitoring.clicks import read_clicks
from tasks.monitoring.simulated import serve, write_traffic
from tasks.serving.exposures import read_exposures


@pytest.mark.slow
def test_traffic_is_the_rows_that_were_not_trained_on(tmp_path):
    """As many exposures as rows are left, with fields and probabilities; each click after its exposure."""
    counts = write_traffic(tmp_path, serve(2000, days=2, skip_rows=500))
    rows = read_exposures(tmp_path / "exposures")
    clicks = read_clicks(str(tmp_path / "clicks" / "part-00000.jsonl")).table
    assert rows.num_rows == counts["exposures"] == 1500
    assert clicks.num_rows == counts["clicks"] > 100
    assert rows["fields"].type.get_field_index("C14") >= 0
    shown = dict(zip(rows["request_id"].to_pylist(), rows["time"].to_pylist(), strict=True))
    assert all(click["clicked_utc"] >= shown[click["request_id"]] for click in clicks.to_pylist())
