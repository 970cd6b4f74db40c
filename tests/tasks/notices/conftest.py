"""Products of a small run, as the pipeline and monitoring leave them."""

import json
from pathlib import Path

import pytest

from tasks.monitoring.record import Alert, Drift, MonitorRecord, Quality, write_record
from tasks.registry.ledger import append_decision

NAME = "ctr-shop"


class Run:
    """Writes what the days of a model leave behind."""

    def __init__(self, products: Path):
        self.products = products
        self.ledger = products / "ledger.jsonl"
        self.knobs = {
            "products": str(products),
            "mlflow": {"ledger": str(self.ledger)},
            "notices": {
                "addresses": [],
                "events": ["day", "promotion", "refusal", "alert", "failure"],
                "quiet": False,
                "timeout_s": 5.0,
                "usd_per_core_hour": None,
            },
        }

    def evaluate(self, day, *, loss=0.43, decision="promoted", reasons=()):
        """Write an evaluation of one model, `ftrl`, and the decision about it."""
        digest, run_id = f"log-{day}", f"run-{day}"
        metrics = {"log_loss": loss, "normalized_entropy": 0.88, "roc_auc": 0.73, "calibration_ratio": 1.01}  # fmt: skip
        record = {
            "registered_name": NAME, "source": "shop.csv", "log_digest": digest, "n_test_rows": 1807,
            "ranking": ["ftrl"], "metrics": {"ftrl": metrics}, "models": {"ftrl": {"run_id": run_id}},
            "importance": {"ftrl": [{"field": "page", "importance": 0.02}, {"field": "ad", "importance": 0.01}]},
            "harm": [], "failed": {},
        }  # fmt: skip
        self.products.mkdir(exist_ok=True)
        (self.products / "evaluation.json").write_text(json.dumps(record))
        self.decide(day, decision, reasons)

    def decide(self, day, decision, reasons=()):
        """Write a line into the ledger."""
        version = None if decision == "refused" else str(day)
        append_decision(
            self.ledger,
            {
                "registered_name": NAME, "model": "ftrl", "decision": decision, "version": version,
                "reasons": list(reasons), "log_digest": f"log-{day}", "run_id": f"run-{day}",
            },
        )  # fmt: skip

    def monitor(self, hour, *, alerts=(), ratio=1.0):
        """Write a record of monitoring; each alert is a field whose values are new."""
        quality = Quality(
            "all", "all", 900, 90, 90 * ratio, ctr=0.1, calibration_ratio=ratio,
            calibration_ratio_low=ratio - 0.1, calibration_ratio_high=ratio + 0.1, log_loss=0.3,
        )  # fmt: skip
        found = [
            Alert("unseen", field, "2026-03-01T00:00:00Z", "2026-03-01T01:00:00Z", 1, 0.5, 0.1, 1e-6, True, f"{field}: half of the values are new")
            for field in alerts
        ]  # fmt: skip
        record = MonitorRecord(
            "2026-02-22T00:00:00Z", f"2026-03-01T{hour:02}:00:00Z", 1, 24.0, 0.5, {}, [], None, 900,
            [quality], [], [Drift("page", 0.31, 0.01, psi_usual=0.04)], {}, found,
        )  # fmt: skip
        self.products.mkdir(exist_ok=True)
        write_record(self.products / "monitor.json", record)


@pytest.fixture
def run(tmp_path):
    """A project that has done nothing yet."""
    return Run(tmp_path / "products")
