"""The answer of ``evaluate``: who wins, by how much, how sure."""

import pandas as pd
import pytest

from tasks.evaluation.comparison import CHAMPION, Comparison
from tasks.evaluation.gates import Check, Verdict
from tasks.figures.evaluate import answer

NAN = float("nan")


def comparison(losses, *, entropy=0.8, refused=(), truth=None):
    table = pd.DataFrame({"log_loss": losses}).assign(normalized_entropy=entropy)
    ranking = [name for name in losses if name != CHAMPION]
    verdicts = [Verdict(name, (check(name not in refused),)) for name in ranking]
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
    ("refused", "sentence"),
    [
        (["ftrl"], "The gates refuse it (too wrong); the best that passes is sgd."),
        (["ftrl", "sgd"], "no other model passes either"),
    ],
)
def test_a_refused_winner_is_named_with_its_reason(refused, sentence):
    """Winning is not passing."""
    assert sentence in text(comparison({"ftrl": 0.40, "sgd": 0.41}, refused=refused))


@pytest.mark.parametrize(("entropy", "sentence"), [(1.1, "no better"), (NAN, "one class only")])
def test_a_baseline_that_is_not_beaten_is_said(entropy, sentence):
    """Or one that does not exist."""
    assert sentence in text(comparison({"ftrl": 0.4}, entropy=entropy))
