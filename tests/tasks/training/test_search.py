"""Tuning: the lowest validation log loss wins, studies are shared and go on where they stopped."""

import math
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from tasks.errors import ConfigError
from tasks.models import make_learner
from tasks.training import search as search_module
from tasks.training.fit import fit_stream
from tasks.training.sampling import LastRows
from tasks.training.search import search
from tests.conftest import ROOT
from tests.tasks.models.rows import learnable_rows, small_contract


@pytest.fixture(scope="module")
def parts():
    rng = np.random.default_rng(8)
    return [learnable_rows(rng, n_rows=n, contract=small_contract()) for n in (1500, 800)]


def model(kind="ftrl", params=None, **plan):
    return {"kind": kind, "params": params or {}, "search": plan}


def test_no_search_gives_the_parameters_back(parts):
    """And an empty table."""
    params, trials, *_ = search(model(params={"alpha": 0.3}, method="fixed"), *parts, seed=1)
    assert params == {"alpha": 0.3}
    assert trials.empty


def test_the_grid_is_minimised(parts):
    """The lowest log loss wins: the reference maximised it by mistake."""
    grid = {"alpha": [1e-6, 0.1], "l1": [0.0, 1.0]}
    params, trials, *_ = search(model(params={"l2": 0.0}, method="grid", grid=grid), *parts, seed=1)
    assert len(trials) == 4
    assert trials["valid_log_loss"].is_monotonic_increasing
    best = trials.iloc[0]
    assert params == {"l2": 0.0, "alpha": best["alpha"], "l1": best["l1"]}
    assert params["alpha"] == 0.1


def test_a_trial_is_an_ordinary_training(parts):
    """Its loss is that of the same learner, trained by hand."""
    plan = {"method": "grid", "grid": {"alpha": [0.2]}, "max_epochs": 3, "max_rows": 10_000}
    _, trials, *_ = search(model(**plan), *parts, seed=1)
    history = fit_stream(make_learner("ftrl", 256, alpha=0.2), *parts, max_epochs=3)
    assert trials["valid_log_loss"][0] == history.best_log_loss


def test_a_diverging_trial_loses(parts):
    """It is in the table without a loss, and the search continues."""
    fixed = {"learning_rate": "constant"}
    params, trials, *_ = search(
        model("sgd", fixed, method="grid", grid={"eta0": [1.7e308, 0.01]}), *parts, seed=1
    )
    assert params["eta0"] == 0.01
    assert trials["state"].tolist() == ["complete", "diverged"]
    assert math.isnan(trials["valid_log_loss"][1])


def test_a_search_in_which_everything_diverges_says_so(parts):
    """No parameters are better than bad ones."""
    with pytest.raises(ConfigError, match="no trial has a finite loss"):
        search(
            model("sgd", {"learning_rate": "constant"}, method="grid", grid={"eta0": [1.7e308]}),
            *parts,
            seed=1,
        )


@pytest.mark.parametrize("kind", ["ftrl", "sgd"])
def test_optuna_repeats_itself_and_tries_the_defaults_first(parts, kind):
    """One seed, one search; it cannot end worse than the defaults."""
    one, trials, *_ = search(model(kind, method="optuna", n_trials=4), *parts, seed=3)
    again, *_ = search(model(kind, method="optuna", n_trials=4), *parts, seed=3)
    assert one == again
    assert len(trials) == 4
    defaults = make_learner(kind, 256, n_tokens=parts[0].contract.n_tokens)
    first = trials.set_index("trial").loc[0]
    assert all(first[name] == getattr(defaults, name) for name in defaults.search_space)
    assert trials["valid_log_loss"][0] <= first["valid_log_loss"]


def test_a_fixed_parameter_is_not_searched(parts):
    """`params` hold for every trial."""
    params, trials, *_ = search(
        model(params={"alpha": 0.07}, method="optuna", n_trials=2), *parts, seed=3
    )
    assert params["alpha"] == 0.07
    assert "alpha" not in trials


def test_a_study_goes_on_where_it_stopped(parts, tmp_path):
    """As many trials in all as asked for, however often it was started; another search starts afresh."""
    storage = f"sqlite:///{tmp_path}/deep/optuna.db"

    def run(n_trials, **more):
        return search(
            model(method="optuna", n_trials=n_trials, storage=storage, **more),
            *parts,
            seed=3,
            study_name="s",
        )

    first, two, *_ = run(2)
    _, three, *_ = run(3)
    _, none, *_ = run(3)
    assert (len(two), len(three), len(none)) == (2, 3, 3)
    np.testing.assert_array_equal(three["valid_log_loss"], none["valid_log_loss"])
    _, other, *_ = run(2, max_epochs=1)
    assert len(other) == 2
    assert set(first) == {"alpha", "l1", "l2"}


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 3, 6])
def test_a_killed_study_ends_as_one_that_was_not(parts, tmp_path, monkeypatch, at):
    """The trial that was under way is tried again, no finished one is, and the defaults come first."""

    def run(name):
        plan = {"method": "optuna", "n_trials": 7, "storage": f"sqlite:///{tmp_path}/{name}.db"}
        table = search(model(**plan), *parts, seed=3)[1]
        return table.sort_values("trial").drop(columns="seconds").values.tolist()

    n_started = 0

    def killed(*rows, **options):
        nonlocal n_started
        n_started += 1
        if n_started == at:
            raise KeyboardInterrupt
        return fit_stream(*rows, **options)

    with monkeypatch.context() as patch:
        patch.setattr(search_module, "fit_stream", killed)
        with pytest.raises(KeyboardInterrupt):
            run("killed")
    np.testing.assert_array_equal(run("killed"), run("whole"))


WORKER = """
import sys
import numpy as np
from tasks.training.search import search
from tests.tasks.models.rows import learnable_rows, small_contract

rng = np.random.default_rng(8)
parts = [learnable_rows(rng, n_rows=n, contract=small_contract()) for n in (1500, 800)]
plan = {"method": "optuna", "n_trials": 6, "storage": sys.argv[1]}
search({"kind": "ftrl", "params": {}, "search": plan}, *parts, seed=int(sys.argv[2]), study_name="shared")
"""


@pytest.mark.slow
def test_two_processes_share_one_study(tmp_path):
    """Both start at once on a storage that does not exist yet; neither fails, and their trials are one study."""
    storage = f"sqlite:///{tmp_path}/optuna.db"
    command = [sys.executable, "-c", WORKER, storage]
    workers = [
        subprocess.Popen([*command, seed], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for seed in ("1", "2")
    ]
    errors = [worker.communicate(timeout=120)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], errors
    with sqlite3.connect(tmp_path / "optuna.db") as connection:
        n_studies, n_trials = (
            connection.execute(f"select count(*) from {table}").fetchone()[0]
            for table in ("studies", "trials")
        )
    connection.close()
    assert n_studies == 1
    assert 6 <= n_trials <= 7  # one that was under way when the last one ended


def test_the_tail_is_the_last_rows(parts):
    """Cut within a batch, in order; the whole set if it is shorter."""
    train = parts[0]
    pieces = list(LastRows(train, 700).batches())
    np.testing.assert_array_equal(
        np.concatenate([piece.codes for piece in pieces]), train.codes[-700:]
    )
    np.testing.assert_array_equal(
        np.concatenate([piece.label for piece in pieces]), train.label[-700:]
    )
    assert (
        LastRows(train, 10**9).n_rows
        == sum(len(piece.label) for piece in LastRows(train, 10**9).batches())
        == 1500
    )


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"method": "random"}, "choose from halving, fixed, grid, optuna"),
        ({"method": "grid", "gird": {}}, "no knob 'gird'"),
        ({"method": "grid", "grid": {"alpha": 0.1}}, "lists of values"),
        ({"method": "grid", "grid": {"alhpa": [0.1]}}, "no parameter 'alhpa'"),
        ({"method": "optuna"}, "n_trials must be given, or minutes"),
        ({"method": "optuna", "minutes": 0}, "minutes must be"),
        ({"method": "optuna", "n_trials": 1, "pruner": "median"}, "pruner must be true or false"),
        ({"method": "optuna", "n_trials": 1, "space": {"alpha": 3}}, "choices or"),
        ({"method": "optuna", "n_trials": 1, "storage": "nonsense://x"}, "cannot be used"),
    ],
)
def test_a_mistake_in_the_search_is_one_line(parts, plan, message):
    """It names what was found and what there is."""
    with pytest.raises(ConfigError, match=message):
        search(model(**plan), *parts, seed=1)


@pytest.mark.parametrize(
    "plan", [{"method": "grid", "grid": {"alpha": [0.2]}}, {"method": "optuna", "n_trials": 1}]
)
def test_trials_are_shown_the_rows_that_the_winner_is(parts, plan):
    """With non-clicks left out a trial is the same training as the one it is made for."""
    _, trials, *_ = search(model(**plan), *parts, seed=5, negative_rate=0.4)
    alpha = trials["alpha"][0]
    options = {"max_epochs": 2, "negative_rate": 0.4, "seed": 5}
    learner = make_learner(
        "ftrl", 256, **{name: trials[name][0] for name in ("alpha", "l1", "l2") if name in trials}
    )
    assert learner.alpha == alpha
    history = fit_stream(learner, *parts, **options)
    assert trials["valid_log_loss"][0] == history.best_log_loss


def test_another_rate_is_another_study(parts, tmp_path):
    """Trials of other rows do not count."""
    plan = {"method": "optuna", "n_trials": 1, "storage": f"sqlite:///{tmp_path}/optuna.db"}
    full, less = (
        search(model(**plan), *parts, seed=5, negative_rate=rate)[1] for rate in (1.0, 0.5)
    )
    assert len(full) == len(less) == 1
    assert full["valid_log_loss"][0] != less["valid_log_loss"][0]


def test_a_rate_out_of_range_is_named_before_the_first_trial(parts):
    """Not after hours of them."""
    with pytest.raises(ConfigError, match="negative_rate must be above 0"):
        search(model(method="optuna", n_trials=1), *parts, seed=5, negative_rate=0)


def test_a_pruned_trial_is_said_and_never_wins(parts):
    """It has the loss of the epoch after which it was stopped, ranks after the complete ones, and counts."""
    space = {"alpha": {"low": 1e-6, "high": 0.5, "log": True}}
    plan = {"method": "optuna", "n_trials": 16, "max_epochs": 4, "space": space}
    found = search(model(**plan), *parts, seed=3)
    states = found.trials["state"].tolist()
    assert len(states) == 16 and {"complete", "pruned"} == set(states)
    assert states == sorted(states)
    pruned = [one for one in found.records if one["state"] == "pruned"]
    assert all(one["valid_log_loss"] == one["losses"][-1] for one in pruned)
    assert min(one["epochs"] for one in pruned) < 4
    complete = [one for one in found.records if one["state"] == "complete"]
    best = min(complete, key=lambda one: one["valid_log_loss"])
    assert found.params == best["params"]


def test_without_a_pruner_every_trial_ends(parts):
    """For losses that cross."""
    space = {"alpha": {"low": 1e-6, "high": 0.5, "log": True}}
    plan = {"method": "optuna", "n_trials": 16, "max_epochs": 4, "space": space, "pruner": False}
    found = search(model(**plan), *parts, seed=3)
    assert set(found.trials["state"]) == {"complete"}


@pytest.mark.parametrize(("minutes", "n_trials"), [(1e-9, 1), (1e6, 3)])
def test_a_budget_in_minutes_counts_what_trials_took(parts, tmp_path, minutes, n_trials):
    """One is always run; a resumed search has the time left over, not the whole of it anew; the first budget ends it."""
    plan = {"method": "optuna", "minutes": minutes, "storage": f"sqlite:///{tmp_path}/optuna.db"}
    if minutes > 1:
        plan["n_trials"] = n_trials
    for _ in range(2):
        found = search(model(**plan), *parts, seed=3)
        assert len(found.trials) == n_trials
    assert found.settings["search.minutes"] == minutes
    assert not any("storage" in name for name in found.settings)


def test_another_budget_resumes_the_same_study(parts, tmp_path):
    """What was tried is not tried again."""
    shared = {"method": "optuna", "storage": f"sqlite:///{tmp_path}/optuna.db"}
    first = search(model(**shared, n_trials=2), *parts, seed=3)
    more = search(model(**shared, n_trials=3, minutes=1e6), *parts, seed=3)
    assert more.records[:2] == first.records


def test_a_grid_says_that_its_best_lies_at_an_edge(parts):
    """Three values or more; the parameter and the knob are named."""
    found = search(model(method="grid", grid={"alpha": [1e-6, 1e-5, 1e-4]}), *parts, seed=1)
    (note,) = found.notes
    assert "The best alpha, 0.0001, lies at the upper edge" in note and "search.grid.alpha" in note
    assert found.settings["search.space.alpha"] == "1e-06, 1e-05, 0.0001"
    assert found.study is None
