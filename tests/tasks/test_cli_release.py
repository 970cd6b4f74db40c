"""What the commands about a released model say; what they do is tested where it is done."""

from contextlib import contextmanager
from pathlib import Path

from typer.testing import CliRunner

from tasks.cli import app
from tasks.provenance import audit, models
from tasks.serving import file_scoring
from tests.bentos.ctr.serving import trained_model


def said(*words):
    done = CliRunner().invoke(app, words)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_an_audit_asks_for_what_it_lacks():
    """By the names that `make audit` has."""
    assert said("audit", "") == (3, "error: REQUEST= is not given; make audit REQUEST=id EXPOSURES=folder (`exposures.sink` of the service)\n")  # fmt: skip
    assert "EXPOSURES= is not given" in said("audit", "one")[1]


def test_an_answer_that_differs_is_exit_code_1(monkeypatch):
    """A script may act on it."""
    for agrees, code in ((True, 0), (None, 0), (False, 1)):
        found = audit.Audit([("request", "one")], agrees)
        monkeypatch.setattr(audit, "audit", lambda *args, found=found: found)
        assert said("audit", "one", "--exposures", "x") == (code, "request  one\n")


def test_scores_are_summed_up_in_a_line(monkeypatch, tmp_path):
    """File, rows, model and mean; what was ignored or rejected before it."""
    from tasks.schema import load_schema

    model = trained_model(tmp_path / "model", load_schema("avazu"))

    @contextmanager
    def opened(*_):
        yield model

    done = file_scoring.FileScores(Path("p.csv"), 1200, 3, Path("p.csv.rejected.parquet"), 0.17, ["a note"])  # fmt: skip
    monkeypatch.setattr(models, "open_model", opened)
    monkeypatch.setattr(file_scoring, "score_file", lambda *args, **how: done)
    code, output = said("score", "a.csv", "p.csv")
    assert code == 0
    assert "a note\n3 rows without a probability: p.csv.rejected.parquet\n" in output
    assert f"p.csv: 1,200 rows by ftrl, version {model.version}, mean 0.1700\n" in output
