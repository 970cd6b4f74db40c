"""`make ab-test`: the verdict of two logs, and mistakes before any work."""

import re

from typer.testing import CliRunner

from tasks.cli import app
from tasks.monitoring.ab_test.plan import Plan
from tasks.monitoring.ab_test.readout import read_out
from tasks.monitoring.ab_test.record import write_readout
from tasks.monitoring.ab_test.simulated import World, simulate_experiment
from tasks.pipeline import notebook_run
from tests.conftest import ROOT

EXPERIMENT = """
name: trial
variants:
  - {name: champion, weight: 1, model: champion}
  - {name: challenger, weight: 1, model: challenger}
"""


def said(*words):
    done = CliRunner().invoke(app, ["ab-test", *words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_it_asks_for_the_logs_that_it_lacks(monkeypatch):
    """By the names that `make ab-test` has."""
    monkeypatch.chdir(ROOT)
    code, output = said("--exposures", "x")
    assert code == 3
    assert output.startswith(
        "error: CLICKS= is not given; make ab-test EXPOSURES=folder CLICKS=folder"
    )


def test_an_experiment_of_one_variant_is_one_line(monkeypatch, tmp_path):
    """Before a kernel starts."""
    monkeypatch.chdir(ROOT)
    path = tmp_path / "experiment.yaml"
    path.write_text("name: a\nvariants:\n  - {name: champion, weight: 1}\n")
    found = said("--exposures", "x", "--clicks", "y", "--experiment", str(path))
    assert found == (
        3,
        "error: 'champion' is the only variant with a weight; an experiment needs two\n",
    )


def test_the_verdict_of_two_logs_is_printed(monkeypatch, tmp_path):
    """And the page of the notebook that found it, which gets logs, weights and plan."""
    readout = read_out(simulate_experiment(World(100, 2)), Plan({"champion": 1, "challenger": 1}))

    def run(source, parameters, target):
        assert source == "notebooks/ab_test.ipynb"
        assert set(parameters) == {"logs", "ab_test", "weights", "product"}
        assert parameters["weights"] == {"champion": 1, "challenger": 1}
        assert (parameters["logs"]["exposures"], parameters["logs"]["clicks"]) == ("x", "y")
        write_readout(parameters["product"]["readout"], readout)
        return target.with_suffix(".html")

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(notebook_run, "run_notebook", run)
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT)
    env = tmp_path / "env.yaml"
    text = (ROOT / "env.yaml").read_text()
    env.write_text(re.sub(r"^products: \S+", f"products: {tmp_path}/products", text, flags=re.M))
    given = ("--exposures", "x", "--clicks", "y", "--env", str(env))
    code, output = said(*given, "--experiment", str(tmp_path / "experiment.yaml"))
    assert (code, output) == (0, f"{readout.verdict}\n{tmp_path}/products/ab_test.html\n")
