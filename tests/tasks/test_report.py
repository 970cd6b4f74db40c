"""The closing table: what a person reads last."""

import json

import pytest
from rich.console import Console

from tasks.report import render_report


def record(**changes):
    """Return a report of two models, the second refused."""
    model = {
        "normalized_entropy": 0.85,
        "roc_auc": 0.77,
        "calibration_ratio": 1.02,
        "train_seconds": 1.5,
    }
    base = {
        "source": "train.gz",
        "rows": {"n_rows_in": 1000, "n_rows": 990, "n_quarantined": 10},
        "span": ["2014-10-21T00:00:00", "2014-10-30T23:00:00"],
        "split_note": "split by day",
        "n_test_rows": 100,
        "truth_log_loss": None,
        "models": [
            model | {"model": "ftrl", "log_loss": 0.3849, "passed": True, "reasons": []},
            model | {"model": "sgd", "log_loss": 0.3931, "passed": False, "reasons": ["calibration ratio 1.9"]},
        ],
        "promotion": {
            "champion": "ftrl", "champion_version": "3", "previous_version": "2", "registered_name": "ctr-avazu",
        },
        "bento": {"bento": "ctr:abc"},
    }  # fmt: skip
    return base | changes


@pytest.fixture
def show(tmp_path):
    """Return what the report of a record looks like on a terminal of 80 columns."""

    def render(content: dict, n_ran: int = 11) -> str:
        path = tmp_path / "report.json"
        path.write_text(json.dumps(content))
        console = Console(width=80, record=True, file=(tmp_path / "out").open("w"))
        with console.file:
            render_report(path, n_ran=n_ran, seconds=63, console=console)
        return console.export_text()

    return render


def test_models_champion_and_quarantine_are_told(show):
    """Every number a person needs is on the screen, on lines that fit."""
    text = show(record())
    for part in (
        "990 rows (10 in quarantine)",
        "0.3849",
        "0.3931",
        "ftrl, version 3",
        "ctr:abc",
        "make serve",
    ):
        assert part in text
    assert "sgd was refused: calibration ratio 1.9" in text
    assert "truth" not in text


def test_the_best_possible_is_shown_where_it_is_known(show):
    """A simulated log says how far there is to go."""
    assert "0.3621" in show(record(truth_log_loss=0.3621))


def test_a_champion_that_stays_is_said_to_stay(show):
    """Nobody reads a promotion where there was none."""
    promotion = record()["promotion"] | {"champion_version": "2", "champion": "(unchanged)"}
    assert "stays version 2" in show(record(promotion=promotion))


def test_a_run_with_nothing_to_do_says_so(show):
    """The second run is quick because nothing ran."""
    assert "nothing had changed" in show(record(), n_ran=0)
