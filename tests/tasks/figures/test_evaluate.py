"""What ``evaluate`` shows: who wins, by how much, how sure; slices and calibration of any log."""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from tasks.evaluation.candidates import CHAMPION
from tasks.evaluation.comparison import Comparison
from tasks.evaluation.gates import Check, Gates, Verdict, refused
from tasks.evaluation.metrics import calibration_curve
from tasks.evaluation.slices import slice_table
from tasks.evaluation.succession import Choice
from tasks.figures.evaluate import answer, calibration, slice_ratios

NAN = float("nan")


def comparison(losses, *, entropy=0.8, losers=(), truth=None):
    table = pd.DataFrame({"log_loss": losses}).assign(normalized_entropy=entropy)
    ranking = [name for name in losses if name != CHAMPION]
    verdicts = [Verdict(name, (check(name not in losers),)) for name in ranking]
    return Comparison(table, table, pd.DataFrame(), verdicts, ranking, truth)


def check(passed):
    names = Check.__dataclass_fields__
    return Check(**dict.fromkeys(names, "") | {"passed": passed, "reason": "too wrong"})


def text(result, lead=None, champion_lead=None):
    return answer(result, n_rows=1200, lead=lead, champion_lead=champion_lead)


def test_the_winner_its_lead_and_its_certainty():
    """An interval without 0 is more than chance; the gap to the truth is a share."""
    shown = text(comparison({"ftrl": 0.40, "sgd": 0.41}, truth=0.30), lead=(0.002, 0.018))
    assert "ftrl has the lowest log loss of 2 models on 1,200 test rows: 0.4000" in shown
    assert "Knowing only the click rate gives 0.5000: the winner is 20.0% below it" in shown
    assert "closes 50% of the gap to the true probabilities (0.3000)" in shown
    assert "sgd, is 0.0100 above it (95% interval of the difference +0.00200 to +0.01800)" in shown
    assert "more than chance" in shown
    assert "It passes every gate" in shown


@pytest.mark.parametrize(
    ("lead", "sentence"),
    [
        ((-0.001, 0.02), "it may be chance"),
        ((NAN, NAN), "is 0.0100 above it."),
        (None, "is 0.0100 above it."),
    ],
)
def test_an_unsure_lead_is_called_unsure(lead, sentence):
    """Zero inside the interval, or no interval at all."""
    assert sentence in text(comparison({"ftrl": 0.40, "sgd": 0.41}), lead=lead)


def test_a_tie_is_a_tie():
    """The same predictions, as two searches may find."""
    shown = text(comparison({"sgd": 0.4, "sgd_optuna": 0.4}), lead=(0.0, 0.0))
    assert "The runner-up, sgd_optuna, has the very same log loss." in shown


def test_a_single_model_has_no_runner_up():
    """Nothing is compared with nothing."""
    shown = text(comparison({"ftrl": 0.4}))
    assert "of 1 model on" in shown
    assert "runner-up" not in shown


def test_a_champion_that_is_better_is_below():
    """The winner of this run need not beat it."""
    shown = text(comparison({"ftrl": 0.4, CHAMPION: 0.39}), champion_lead=(-0.02, -0.001))
    assert "The champion that serves now is 0.0100 below it" in shown


@pytest.mark.parametrize(
    ("losers", "sentence"),
    [
        (["ftrl"], "The gates refuse it (too wrong); the best that passes is sgd."),
        (["ftrl", "sgd"], "no other model passes either"),
    ],
)
def test_a_refused_winner_is_named_with_its_reason(losers, sentence):
    """Winning is not passing."""
    assert sentence in text(comparison({"ftrl": 0.40, "sgd": 0.41}, losers=losers))


@pytest.mark.parametrize(("entropy", "sentence"), [(1.1, "no better"), (NAN, "one class only")])
def test_a_baseline_that_is_not_beaten_is_said(entropy, sentence):
    """Or one that does not exist."""
    assert sentence in text(comparison({"ftrl": 0.4}, entropy=entropy))


AWKWARD = ["$a$", "b" * 999, "日本", "line\nbreak", "", "\\frac{"]


@pytest.fixture
def scored():
    """Return labels and predictions at a click rate of half a percent, and slices of any names."""
    rng = np.random.default_rng(1)
    p = rng.beta(0.5, 100, 9000)
    labels = {"campaign": rng.choice(AWKWARD, 9000), "all": np.full(9000, "one")}
    return (rng.random(9000) < p).astype(float), p, labels


def test_slices_of_any_name_are_drawn_and_the_refused_one_is_marked(scored):
    """Dollars are no formula, long values are cut, and chance marks nothing."""
    y_true, p, labels = scored
    off = np.where(labels["campaign"] == "$a$", 6 * p, p)
    for predictions, n_marked in ((p, 0), (off, 1)):
        table = slice_table("m", y_true, predictions, labels)
        overall = predictions.sum() / y_true.sum()
        figure = slice_ratios(table, title="m", gates=Gates(), overall=overall)
        figure.canvas.draw()
        marks = [
            line for line in figure.axes[0].lines if str(line.get_label()).startswith("refused")
        ]
        assert len(marks[0].get_xdata()) == n_marked
        plt.close(figure)


def test_a_schema_without_slices_has_a_figure_that_says_so():
    """The notebook goes on."""
    table = slice_table("m", np.array([0.0, 1]), np.array([0.1, 0.8]), {})
    figure = slice_ratios(table, title="m", gates=Gates(), overall=1.0)
    assert "declares no slices" in figure.axes[0].texts[0].get_text()
    plt.close(figure)


@pytest.mark.parametrize("n_clicks", [0, 40])
def test_calibration_is_drawn_at_any_click_rate(scored, n_clicks):
    """Without a click, too."""
    _, p, _ = scored
    y_true = np.zeros(len(p))
    y_true[:n_clicks] = 1
    figure = calibration({"m": calibration_curve(y_true, p)}, title="m")
    figure.canvas.draw()
    plt.close(figure)


def test_models_without_predictions_are_listed():
    """In place of a winner."""
    verdicts = [refused("a", "it diverged"), refused("b", "no click")]
    nothing = Comparison(pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), verdicts, [], None)
    assert "- a: it diverged\n- b: no click" in text(nothing)


def test_notes_are_sentences_of_the_answer():
    """Why the best does not serve, what intervals are drawn by, which fields harm."""
    result = dataclasses.replace(
        comparison({"ftrl": 0.40, "fm": 0.41}),
        choice=Choice("fm", "the kind that serves is renewed"),
    )
    shown = answer(result, n_rows=9, lead=None, champion_lead=None, notes=["intervals are by site"])
    assert "- The kind that serves is renewed." in shown
    assert "- Intervals are by site." in shown
