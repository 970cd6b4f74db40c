"""`make ab-test`: the verdict of two logs, and mistakes before any work."""

import pytest
from typer.testing import CliRunner

from tasks.cli import app
from tasks.monitoring.ab_test.record import read_readout
from tasks.monitoring.ab_test.simulated import World, simulate_experiment, write_experiment
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


@pytest.mark.slow
def test_the_verdict_of_two_logs_is_printed(monkeypatch, tmp_path):
    """And the page of the notebook that found it; the record says the same."""
    monkeypatch.chdir(ROOT)
    logs = write_experiment(tmp_path, simulate_experiment(World(400, 4, lift=0.6)))
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT)
    env = tmp_path / "env.yaml"
    text = (ROOT / "env.yaml").read_text()
    lines = [
        f"products: {tmp_path}/products" if one.startswith("products:") else one
        for one in text.splitlines()
    ]
    env.write_text("\n".join(lines) + "\n")
    words = [f"--{name}={place}" for name, place in logs.items()]
    code, output = said(
        *words, "--experiment", str(tmp_path / "experiment.yaml"), "--env", str(env)
    )
    assert code == 0, output
    readout = read_readout(tmp_path / "products" / "ab_test.json")
    assert output.splitlines()[-2:] == [
        readout.verdict,
        str(tmp_path / "products" / "ab_test.html"),
    ]
    assert readout.outcome == {"challenger": "better"}
