"""A served day: exposures in the service's own format and clicks, small enough to write in a moment."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from bentos.ctr.exposures.record import Exposure, LineEncoder
from tasks.monitoring.alerts import Limits
from tasks.monitoring.bins import N_BINS, FieldBins, SeenValues, text_hashes
from tasks.monitoring.reference import FieldReference, Reference, Usual
from tasks.monitoring.report import Settings

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = START + timedelta(hours=24)


class Traffic:
    """Answers that were served, `n_per_hour` each hour, and the clicks; `p_click` is right."""

    def __init__(self, n_hours=24, n_per_hour=300, seed=1):
        rng = np.random.default_rng(seed)
        n = n_hours * n_per_hour
        self.second = np.sort(rng.uniform(0, n_hours * 3600, n))
        self.place = rng.choice(["app", "site", "web"], n, p=[0.5, 0.3, 0.2])
        self.p_click = np.round(rng.beta(2, 8, n), 6)
        self.clicked = rng.random(n) < self.p_click
        self.delay = rng.exponential(300.0, n)
        self.variant = np.where(rng.random(n) < 0.3, "challenger", "champion")

    def lines(self):
        """Return the lines of the exposure log."""
        encoder = LineEncoder()
        return [
            encoder.encode(
                Exposure(
                    f"r{row}", self._ns(second), "predict", str(self.variant[row]), "v1", f"{row % 997:x}",
                    False, {"place": str(self.place[row])}, float(self.p_click[row]),
                )
            )
            + b"\n"
            for row, second in enumerate(self.second.tolist())
        ]  # fmt: skip

    def clicks(self):
        """Return the lines of the click log."""
        return [
            json.dumps({"request_id": f"r{row}", "clicked_utc": self._text(self.second[row] + self.delay[row])}).encode()
            + b"\n"
            for row in np.flatnonzero(self.clicked)
        ]  # fmt: skip

    @staticmethod
    def _ns(second):
        return round((START.timestamp() + second) * 1e9)

    @staticmethod
    def _text(second):
        return (START + timedelta(seconds=float(second))).isoformat()


@pytest.fixture
def traffic():
    """A day of traffic."""
    return Traffic()


@pytest.fixture
def reference():
    """Training rows with the field of :class:`Traffic`."""
    seen = SeenValues()
    seen.add(text_hashes(pa.array(["app", "site", "web"])))
    counts = np.zeros(N_BINS, np.int64)
    counts[:3] = 5000, 3000, 2000
    bins = FieldBins("place", "category", ["app", "site", "web"], [], seen)
    usual = Usual(0.0, 0.0)
    return Reference(10_000, {"place": FieldReference(bins, counts, usual, usual, usual)})


@pytest.fixture
def settings_of(tmp_path):
    """Return the settings for logs below the test's folder."""

    def make(**changes):
        limits = Limits(0.5, 0.2, 0.1, 0.05, (0.8, 1.25))
        given = {"exposures": str(tmp_path / "exposures"), "clicks": str(tmp_path / "clicks")}
        given |= {"now_us": round(NOW.timestamp() * 1e6), "span_hours": 24, "window_hours": 1}
        given |= {"attribution_hours": 12, "clock_tolerance_s": 60.0, "mature_share": 0.99}
        return Settings(**(given | {"n_buckets": 4, "limits": limits} | changes))

    return make


def write(folder, *files):
    """Write files of lines below a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in files:
        (folder / name).write_bytes(b"".join(lines))
