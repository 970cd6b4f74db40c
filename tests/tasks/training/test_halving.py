"""A search by halving: cheap, repeatable, and never worse than the default by more than chance."""

import sqlite3

import numpy as np
import pytest

from tasks.errors import ConfigError, DivergenceError
from tasks.evaluation.bootstrap import bootstrap_difference
from tasks.evaluation.metrics import log_loss
from tasks.models import make_learner
from tasks.models.predict import predict_stream
from tasks.training.fit import fit_stream
from tasks.training.halving import decide, finalists, full_training, halving_plan
from tasks.training.search import search
from tests.tasks.models.rows import learnable_rows, small_contract


@pytest.fixture(scope="module")
def parts():
    rng = np.random.default_rng(8)
    return [learnable_rows(rng, n_rows=n, contract=small_contract()) for n in (1500, 800)]


def block(kind="ftrl", params=None, **search):
    return {"kind": kind, "params": params or {}} | ({"search": search} if search else {})


FINAL = {"max_epochs": 4, "patience": 1}


def test_it_is_what_a_block_without_a_search_gets(parts):
    """The same parameters and trials as where it is written, twice the same; the default is the first trial."""
    one, named, again = (
        search(model, *parts, seed=3, final=FINAL)
        for model in (block(), block(method="halving"), block())
    )
    assert one.params == named.params == again.params
    assert one.decision == named.decision == again.decision != ""
    assert len(one.records) == 9
    assert one.records[0]["params"] == dict(one.defaults) == {"alpha": 0.1, "l1": 0.3, "l2": 5.0}
    assert one.settings["search.method"] == "halving"


def test_the_method_fixed_stays_a_choice(parts):
    """So does a kind without a space, and a block that fixes all of it."""
    for model in (
        block(method="fixed"),
        block(params={"alpha": 0.1, "l1": 0.0, "l2": 1.0}),
    ):
        found = search(model, *parts, seed=3)
        assert found.params == model["params"] and found.trials.empty and found.decision == ""


def test_trials_stay_near_the_defaults(parts):
    """Which depend on the tokens of a row: no further from them than the learner says."""
    found = search(block(), *parts, seed=3, final=FINAL)
    for name, factor in make_learner("ftrl", 2).searched_around.items():
        ratio = found.trials[name] / found.defaults[name]
        assert ratio.between(1 / factor - 1e-9, factor + 1e-9).all()


def test_a_trial_outside_the_best_third_ends_after_its_first_epoch(parts):
    """Optuna's successive halving; the default comes first and is always completed."""
    found = search(block(method="halving", max_epochs=3), *parts, seed=3, final=FINAL)
    assert found.records[0]["state"] == "complete"
    pruned = [one for one in found.records if one["state"] == "pruned"]
    assert pruned and min(one["epochs"] for one in pruned) < 3


def test_the_winner_is_better_in_full_by_more_than_chance(parts):
    """By hand: both trained to the end, and the interval of the difference on the validation rows."""
    model = block(params={"beta": 1.0}, method="halving", n_trials=12)
    found = search(model, *parts, seed=3, final=FINAL)
    best = finalists(found.records, found.defaults)[0]
    guesses = []
    for params in ({}, best):
        learner = make_learner("ftrl", 256, n_tokens=parts[0].contract.n_tokens, **params)
        fit_stream(learner, *parts, **FINAL)
        y_true, p_click = predict_stream(learner, parts[1])
        guesses.append(p_click)
    _, high = bootstrap_difference("log_loss", y_true, guesses[1], guesses[0], seed=3)
    apart = log_loss(y_true, guesses[1]) - log_loss(y_true, guesses[0])
    assert f"{apart:+.4f} +- " in found.decision
    assert found.params == {"beta": 1.0} | (best if high < 0 else {})
    assert found.decision.startswith("The default stays") is not (high < 0)


def test_more_than_chance_replaces_a_bad_default_and_chance_does_not(parts):
    """A rate of next to nothing against a good one, and against the very same predictions."""
    fixed = {"l1": 0.0}
    in_full = full_training(block(), fixed, *parts, {**FINAL, "seed": 1}, 4)

    def made(params):
        return in_full({"alpha": 1e-6} | params)

    how = {"n_tried": 3, "seed": 1}
    good = decide(made, {"alpha": 1e-6}, [{"alpha": 0.1}], parts[1], **how)
    assert good.params == {"alpha": 0.1}
    assert good.text.startswith("alpha 0.1 instead of 1e-06: -0.")
    same = decide(made, {"alpha": 1e-6}, [{"n_epochs": 7}], parts[1], **how)
    assert same.params == {} and same.text.startswith("The default stays: ")
    none = decide(made, {"alpha": 1e-6}, [], parts[1], **how)
    assert none == ({}, "The default stays: none of 3 other settings lost less.")


def test_who_diverges_in_full_never_wins(parts):
    """Unless the default does too: then its own training says so."""

    def made(params):
        if params.get("alpha") == 9:
            raise DivergenceError("too high")
        return full_training(block(), {}, *parts, {**FINAL, "seed": 1}, 4)(params)

    found = decide(made, {"alpha": 0.1}, [{"alpha": 9}], parts[1], n_tried=1, seed=1)
    assert found.params == {} and "diverges" in found.text


def test_finalists_lost_less_than_the_default():
    """The best first; pruned trials and the default are none."""
    losses = [(0.4, "complete"), (0.3, "pruned"), (0.39, "complete"), (0.38, "complete"), (0.41, "complete")]  # fmt: skip
    records = [
        {"params": {"alpha": n}, "valid_log_loss": loss, "state": state}
        for n, (loss, state) in enumerate(losses)
    ]
    assert finalists(records, {"alpha": 0}, 5) == [{"alpha": 3}, {"alpha": 2}]
    assert finalists(records, {"alpha": 3}, 5) == []


@pytest.mark.parametrize(
    ("n_rows", "max_rows"), [(1, 1), (9_000, 9_000), (60_000, 25_000), (400_000, 100_000), (10**8, 10**6)]
)  # fmt: skip
def test_trials_learn_the_newest_quarter_within_limits(n_rows, max_rows):
    """Few rows are all taken, and a very long log costs no more than a long one."""
    assert halving_plan({}, n_rows)["max_rows"] == max_rows
    assert halving_plan({"max_rows": 7}, n_rows)["max_rows"] == 7


@pytest.mark.slow
def test_a_stored_search_resumes_and_ends_the_same(parts, tmp_path):
    """Fewer trials first, then the rest: as in one go, in one study."""

    def run(name, n_trials):
        model = block(method="halving", n_trials=n_trials, storage=f"sqlite:///{tmp_path}/{name}.db")  # fmt: skip
        return search(model, *parts, seed=3, final=FINAL)

    run("parts", 4)
    resumed, whole = run("parts", 9), run("whole", 9)
    assert (resumed.params, resumed.decision) == (whole.params, whole.decision)
    assert [one["params"] for one in resumed.records] == [one["params"] for one in whole.records]
    with sqlite3.connect(tmp_path / "parts.db") as connection:
        assert connection.execute("select count(*) from studies").fetchone() == (1,)
    connection.close()


def test_the_comparison_in_full_leaves_out_the_rows_that_training_does(parts):
    """With few of the non-clicks: the losses are those of such a training."""
    options = {**FINAL, "negative_rate": 0.4, "seed": 5}
    learner = full_training(block(), {}, *parts, {**options, "checkpoint": "unused"}, 4)({})
    twin = make_learner("ftrl", 256, n_tokens=4)
    fit_stream(twin, *parts, **options)
    one, other = (predict_stream(model, parts[1])[1] for model in (learner, twin))
    np.testing.assert_array_equal(one, other)
    assert learner.negative_rate_ == 0.4


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"minutes": 3}, "'halving' has no knob 'minutes'"),
        ({"n_trials": 0}, "n_trials must be an integer of at least 1"),
        ({"max_epochs": 0}, "max_epochs must be"),
    ],
)
def test_a_mistake_is_one_line(parts, plan, message):
    """Before the first trial."""
    with pytest.raises(ConfigError, match=message):
        search(block(method="halving", **plan), *parts, seed=1)
