"""What the commands for ideas say; what they do is tested where it is done."""

from typer.testing import CliRunner

from tasks.cli import app
from tasks.ideas import promotion


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
