"""The closing table: what a person reads last."""

import json

import pytest
from rich.console import Console

from tasks.report import compared, render_comparison, render_report


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

    def render(content: dict, n_ran: int = 11, env: str = "env.yaml") -> str:
        path = tmp_path / "report.json"
        path.write_text(json.dumps(content))
        console = Console(width=80, record=True, file=(tmp_path / "out").open("w"))
        with console.file:
            render_report(path, n_ran=n_ran, seconds=63, env=env, console=console)
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


def test_a_log_without_a_time_shows_no_dates(show):
    """Its rows are counted from 1970, which says nothing."""
    assert "to 2014-10-30" in " ".join(show(record()).split())
    assert "990 rows (10 in quarantine)\n" in show(record(span=None))


def test_a_champion_that_stays_is_said_to_stay(show):
    """Nobody reads a promotion where there was none."""
    promotion = record()["promotion"] | {"champion_version": "2", "champion": "(unchanged)"}
    assert "stays version 2" in show(record(promotion=promotion))


def test_a_run_with_nothing_to_do_says_so(show):
    """The second run is quick because nothing ran."""
    assert "nothing had changed" in show(record(), n_ran=0)


def test_the_commands_are_those_of_the_file_of_knobs(show):
    """As printed, they serve this run's model."""
    text = show(record(), env="env.tiny.yaml")
    assert "make serve ENV=env.tiny.yaml" in text
    assert "make predict ENV=env.tiny.yaml" in " ".join(text.split())
    assert "ENV=" not in show(record())


def nobody(reasons: list[str]) -> list[dict]:
    """Return models of which none passed, for these reasons."""
    rows = record()["models"]
    return [
        row | {"passed": False, "reasons": [why]} for row, why in zip(rows, reasons, strict=True)
    ]


def test_when_nobody_passes_a_person_sees_why_and_how_to_serve_one(show):
    """Model by model; the best one is proposed."""
    text = " ".join(show(record(models=nobody(["too high", "too low"])), env="env.x.yaml").split())
    assert "ftrl was refused: too high" in text
    assert "sgd was refused: too low" in text
    assert 'make promote FORCE=ftrl WHY="..." ENV=env.x.yaml' in text


def test_one_reason_for_all_is_said_once(show):
    """Such as test rows without a click."""
    text = " ".join(show(record(models=nobody(["no click [there]"] * 2))).split())
    assert "all models were refused: no click [there]" in text
    assert text.count("no click") == 1


def test_a_forced_champion_is_said_to_be_one(show):
    """And nobody is told how to force another."""
    promotion = record()["promotion"] | {"forced": "ftrl"}
    text = " ".join(show(record(models=nobody(["a", "b"]), promotion=promotion)).split())
    assert "ftrl, version 3 of ctr-avazu, by hand against the gates" in text
    assert "FORCE=" not in text


def evaluation() -> dict:
    """Return what ``evaluate`` wrote: one model that was refused, one that has no predictions."""
    metrics = {
        "log_loss": 0.02,
        "normalized_entropy": float("nan"),
        "roc_auc": float("nan"),
        "calibration_ratio": 1.0,
    }
    return {
        "split_note": "by day", "n_test_rows": 100, "truth_log_loss": None, "note": "3 clicks show little",
        "champion_left_out": "the champion, version 1, is left out",
        "metrics": {"ftrl": metrics},
        "models": {"ftrl": {"train_seconds": 1.0}, "wild": {"train_seconds": None}},
        "verdicts": {name: {"passed": False, "reasons": [why]} for name, why in (("ftrl", "no click"), ("wild", "it diverged"))},
    }  # fmt: skip


def test_a_run_that_ended_after_the_comparison_shows_it(tmp_path):
    """From what ``evaluate`` and ``ingest`` wrote; a model without numbers has dashes."""
    log = {"source": "a.csv", "n_rows_in": 9, "n_rows": 9, "n_quarantined": 0, "time_min": "t0", "time_max": "t1"}  # fmt: skip
    console = Console(width=200, record=True, file=(tmp_path / "out").open("w"))
    with console.file:
        render_comparison(tmp_path, console=console)
        assert console.export_text(clear=True) == ""
        (tmp_path / "log").mkdir()
        (tmp_path / "log/manifest.json").write_text(json.dumps(log))
        (tmp_path / "evaluation.json").write_text(json.dumps(evaluation()))
        render_comparison(tmp_path, console=console)
    text = console.export_text()
    for part in ("wild was refused: it diverged", "3 clicks show little", "left out", "FORCE=ftrl"):
        assert part in text
    (row,) = [line for line in text.splitlines() if line.startswith("wild  ")]
    assert row.split() == ["wild", "-", "-", "-", "-", "-", "refused"]
    assert [one["model"] for one in compared(evaluation(), log)["models"]] == ["ftrl", "wild"]


def test_each_model_is_held_against_the_champion_with_its_interval(show):
    """On the same rows; without a champion there is no such line."""
    paired = {"n_rows": 90, "difference": -0.0012, "low": -0.003, "high": 0.0006}
    models = [row | {"against_champion": paired} for row in record()["models"][:1]]
    text = show(record(models=models + record()["models"][1:], drawn_by="site, 40 clusters"))
    assert "minus the champion's on 90 rows" in text
    assert "by site, 40" in text
    assert "ftrl  -0.00120 (-0.00300 to +0.00060)" in text
    assert "minus the champion" not in show(record())


def test_what_the_comparison_leaves_to_say_is_said():
    """Rows that the champion has learned, why the best does not serve, fields that harm."""
    evaluation = {
        "split_note": "by day", "n_test_rows": 9, "truth_log_loss": None, "verdicts": {}, "metrics": {},
        "models": {}, "champion_note": "learned 3", "preference": "renewed", "harm": ["ip harms"],
    }  # fmt: skip
    log = dict.fromkeys(("source", "n_rows_in", "n_rows", "n_quarantined", "time_min", "time_max"))
    assert compared(evaluation, log)["notes"] == ["learned 3", "renewed", "ip harms"]
