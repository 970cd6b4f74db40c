"""A search, drawn: every trial is a point, and too few are no figure."""

import types

import matplotlib.pyplot as plt
import pandas as pd

from tasks.figures import trials


def found(n_trials, state="complete", study=None, defaults=None):
    table = pd.DataFrame(
        {
            "trial": range(n_trials), "valid_log_loss": [0.4 + 0.01 * n for n in range(n_trials)],
            "epochs": 2, "seconds": 1.0, "state": state,
            "alpha": [10.0**-n for n in range(1, n_trials + 1)], "penalty": ["l1", "l2"] * (n_trials // 2),
        }
    )  # fmt: skip
    return types.SimpleNamespace(trials=table, study=study, defaults=defaults or {})


def test_history_and_slices_show_every_trial():
    """One panel per parameter; one that spans decades is logarithmic."""
    figures = trials.draw(found(6), title="sgd")
    assert set(figures) == {"search_history.png", "search_slices.png"}
    alpha, penalty = figures["search_slices.png"].axes
    assert (alpha.get_xlabel(), penalty.get_xlabel()) == ("alpha", "penalty")
    assert (alpha.get_xscale(), penalty.get_xscale()) == ("log", "linear")
    assert len(figures["search_history.png"].axes[0].collections[0].get_offsets()) == 6
    plt.close("all")


def test_without_complete_trials_there_is_no_figure():
    """As after a search that fixed everything."""
    assert trials.draw(found(2, state="pruned"), title="sgd") == {}
    assert trials.draw(found(0), title="sgd") == {}


def test_how_much_each_parameter_mattered_comes_from_the_study():
    """The one that the loss follows has nearly all of it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(
        lambda trial: trial.suggest_float("alpha", 0, 1) + 0.001 * trial.suggest_float("l1", 0, 1),
        n_trials=20,
    )
    axes = trials.draw(found(6, study=study), title="sgd")["search_importance.png"].axes[0]
    widths = {
        label.get_text(): bar.get_width()
        for label, bar in zip(axes.get_yticklabels(), axes.patches, strict=True)
    }
    assert widths["alpha"] > 0.9 > 0.1 > widths["l1"]
    plt.close("all")


def test_the_default_is_marked_where_it_was_tried():
    """A ring at its own trial, in every figure of the trials."""
    figures = trials.draw(found(6, defaults={"alpha": 1e-3, "penalty": "l1"}), title="sgd")
    for axes in figures["search_history.png"].axes + figures["search_slices.png"].axes[:1]:
        (ring,) = [one for one in axes.collections if one.get_label() == "the default"]
        assert ring.get_offsets()[0][1] == 0.4 + 0.01 * 2
    plt.close("all")


def test_defaults_outside_the_space_are_not_marked():
    """They are no trial."""
    figures = trials.draw(found(6, defaults={"alpha": 7.0, "penalty": "l1"}), title="sgd")
    labels = [one.get_label() for one in figures["search_history.png"].axes[0].collections]
    assert "the default" not in labels
    plt.close("all")
