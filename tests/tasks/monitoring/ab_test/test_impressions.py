"""Impressions from the logs of the service: those that count, with their clicks."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tasks.errors import DataCheckError, InputError
from tasks.monitoring.ab_test.impressions import read_impressions, read_impressions_of
from tasks.monitoring.ab_test.simulated import FIELD, World, simulate_experiment, write_experiment
from tests.tasks.serving.test_exposures import record

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def written(folder, exposures, clicks):
    """Write exposures (id, hours before now, further keys) and clicks (id, hours before now)."""
    moment = lambda hours: (NOW - timedelta(hours=hours)).isoformat().replace("+00:00", "Z")  # noqa: E731
    lines = [
        record(**more) | {"request_id": name, "time": moment(hours)}
        for name, hours, more in exposures
    ]
    (folder / "exposures.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    lines = [{"request_id": name, "clicked_utc": moment(hours)} for name, hours in clicks]
    (folder / "clicks.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    return str(folder / "exposures.jsonl"), str(folder / "clicks.jsonl")


def test_what_is_open_or_was_asked_for_does_not_count(tmp_path):
    """Each is counted with its reason; a click counts once, and only in time."""
    shown = [("a", 30, {}), ("b", 30, {"forced": True}), ("c", 1, {}), ("d", 40, {}), ("e", 50, {})]
    clicked = [("a", 29), ("a", 28), ("c", 0.5), ("e", 1)]
    rows = read_impressions(*written(tmp_path, shown, clicked), now=NOW)
    assert rows.y_true.tolist() == [1, 0, 0]
    counts = rows.counts
    assert (counts["exposures_forced"], counts["exposures_open"]) == (1, 1)
    assert (counts["clicks_duplicate"], counts["clicks_too_late"]) == (1, 1)


def test_logs_without_a_final_label_are_one_line(tmp_path):
    """And so is a log that is not there."""
    logs = written(tmp_path, [("a", 1, {})], [])
    with pytest.raises(DataCheckError, match="none of 1 exposures has a final label"):
        read_impressions(*logs, now=NOW)
    with pytest.raises(InputError, match="no exposures there"):
        read_impressions(str(tmp_path / "none"), logs[1], now=NOW)
    with pytest.raises(InputError, match="not found"):
        read_impressions(logs[0], str(tmp_path / "none"), now=NOW)


def test_a_simulated_experiment_comes_back_from_its_logs(tmp_path):
    """Rows, clicks, shadows and slices, whatever their order."""
    rows = simulate_experiment(World(units_per_day=20, days=3, days_before=1))
    logs = write_experiment(tmp_path, rows) | {
        "now_utc": "2026-02-01T00:00",
        "attribution_hours": 24,
    }
    found = read_impressions_of(logs | {"clock_tolerance_s": 60}, fields=[FIELD])

    def key(one):
        names = (one.unit, one.variant, one.experiment, one.fields[FIELD])
        texts = zip(*([each.names[code] for code in each.codes] for each in names), strict=True)
        numbers = zip(one.day, one.y_true, one.p_click, one.shadow["fixed"], strict=True)
        return sorted((*text, *map(float, row)) for text, row in zip(texts, numbers, strict=True))

    assert key(found) == key(rows)
    assert np.isfinite(found.p_click).all()
