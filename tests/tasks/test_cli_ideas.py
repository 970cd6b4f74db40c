"""What the commands for ideas say; what they do is tested where it is done."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tasks.cli import app
from tasks.cli_app import show_outcome
from tasks.ideas import promotion
from tasks.pipeline.build import Outcome
from tasks.pipeline.executor import Failure


def said(*words):
    done = CliRunner().invoke(app, words)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.output


def test_a_replay_without_a_run_asks_for_one():
    """By the name that `make replay` has for it, and no other."""
    assert said("replay", "") == "error: no run is named; say RUN= (an MLflow run, or a model's version)\n"  # fmt: skip


def test_what_demote_leaves_is_printed(monkeypatch):
    """A person has to take it out by hand."""
    done = promotion.Promoted("feature", "night", "-night", ("s.yaml: night",))
    monkeypatch.setattr(promotion, "demote", lambda name, force: done)
    assert "left where it is, because it was changed by hand: s.yaml: night\n" in said("demote", "night", "--force")  # fmt: skip


def test_promote_takes_an_idea_or_a_model():
    """Not both, and not nothing."""
    assert "name one of them" in said("promote", "a.ipynb", "--force", "fm", "--why", "x")
    assert 'FORCE=name WHY="..."' in said("promote", "")


def test_a_forced_model_is_packaged_and_shown(monkeypatch, tmp_path):
    """The decision before is named, so that it goes, and `promote` and what follows it run."""
    knobs = {"products": str(tmp_path), "mlflow": {}}
    forced, shown = [], []
    monkeypatch.setattr("tasks.knobs.reading.read_env", lambda *args, **kwargs: knobs)
    monkeypatch.setattr(
        "tasks.promote.force",
        lambda path, tracking, model, *, why, product: (
            forced.append((path, model, why, product)) or "4"
        ),
    )
    monkeypatch.setattr("tasks.pipeline.build.build", lambda env: "built")
    monkeypatch.setattr("tasks.cli_ideas.show_outcome", lambda *args, **how: shown.append(args))
    text = said("promote", "--force", "fm", "--why", "a try", "--env", "env.x.yaml")
    assert "fm is version 4 and champion now" in text
    decision = tmp_path / "promotion.json"  # is removed before the champion moves
    assert forced == [(tmp_path / "evaluation.json", "fm", "a try", decision)]
    assert shown == [("built", Path("env.x.yaml"))]


@pytest.mark.parametrize(("task", "shows"), [("package", True), ("train-fm", False)])
def test_a_run_that_fails_after_the_comparison_shows_the_table(monkeypatch, task, shows):
    """Before it, what lies there is of an earlier run."""
    rendered = []
    monkeypatch.setattr(
        "tasks.report.render_comparison", lambda *args, **how: rendered.append(args)
    )
    outcome = Outcome(0, Path("products/report.json"), [Failure(task, "no model passed", 6)])
    with pytest.raises(typer.Exit) as end:
        show_outcome(outcome, Path("env.yaml"), started=0.0)
    assert end.value.exit_code == 6
    assert rendered == ([(Path("products"),)] if shows else [])
