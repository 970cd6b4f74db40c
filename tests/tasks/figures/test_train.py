"""The answer of ``train``: how good the model is, and what it learned."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from tasks.figures import train
from tasks.figures.style import use_style
from tasks.training.history import Epoch, History

NAN = float("nan")


def history(*losses, best):
    epochs = tuple(Epoch(n, 0.5, loss, 0.7, 1.0) for n, loss in enumerate(losses, start=1))
    return History(epochs, best, losses[best - 1])


def top_values(*rows):
    columns = ["field", "value", "n_rows", "click_rate", "weight", "odds", "note"]
    return pd.DataFrame(rows, columns=columns)


TOP = top_values(
    ("site", "a", 5, 0.6, 1.5, 4.48, "rare"),
    ("site", "b", 900, 0.4, 0.7, 2.01, ""),
    ("app", "c", 300, 0.1, -0.9, 0.41, "bucket shared with 2"),
)
FACTS = {
    "history": history(0.42, 0.40, 0.41, best=2),
    "metrics": {"log_loss": 0.40, "normalized_entropy": 0.88, "calibration_ratio": 1.03},
    "importance": pd.DataFrame({"field": ["site", "app"], "importance": [0.02, -0.001]}),
    "top": TOP,
    "max_epochs": 8,
}


def test_the_answer_says_how_good_and_from_what():
    """Loss against the click rate, epochs, fields, and the values that are not rare."""
    text = train.answer("ftrl", **FACTS)
    assert (
        "ftrl: validation log loss 0.4000, 12.0% below that of knowing only the click rate" in text
    )
    assert "Epoch 2 of 3 is kept. After it validation log loss did not improve on 0.4000." in text
    assert "mean prediction is 1.03 times the click rate" in text
    assert "`site` (0.0200); in brackets" in text
    assert "1 of 2 fields do not help" in text
    assert (
        "`site = b` raises the odds of a click most: times 2.01 (900 rows, 40.0% clicked)" in text
    )
    assert "`app = c` lowers the odds" in text


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"history": history(0.42, 0.40, best=2)}, "when the limit of 8 epochs was reached"),
        ({"history": history(0.42, best=1), "max_epochs": 1}, "The limit was 1 epoch."),
        ({"history": history(0.42, 0.43, best=1)}, "Epoch 1 of 2 is kept. After it"),
        ({"top": TOP.head(1)}, "The largest weights all belong to rare values"),
        ({"top": TOP.head(0)}, "No value has a weight"),
        ({"importance": pd.DataFrame({"field": ["a"], "importance": [0.0]})}, "No field lowers"),
    ],
)
def test_every_case_has_its_own_sentence(change, sentence):
    """None of them promises what the numbers do not say."""
    assert sentence in train.answer("ftrl", **FACTS | change)


@pytest.mark.parametrize(
    ("entropy", "sentence"),
    [
        (1.25, "no better than knowing only the click rate (25.0% above it)"),
        (NAN, "one class only"),
    ],
)
def test_a_model_that_learned_nothing_is_not_praised(entropy, sentence):
    """Worse than the click rate, or nothing to compare with."""
    metrics = {"log_loss": 0.5, "normalized_entropy": entropy, "calibration_ratio": NAN}
    text = train.answer("ftrl", **FACTS | {"metrics": metrics})
    assert sentence in text
    assert "not comparable with the click rate" in text


@pytest.mark.parametrize("table", [TOP, TOP.head(1), TOP.head(0)])
def test_weights_are_drawn_for_any_number_of_values(table):
    """One bar per value, none included; a long value is cut."""
    plt.switch_backend("agg")
    use_style()
    figure = train.weights(table.assign(value="x" * 90), title="weights")
    figure.canvas.draw()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    plt.close("all")
    assert len(labels) == len(table)
    assert all("…" in label and len(label) < 60 for label in labels)
