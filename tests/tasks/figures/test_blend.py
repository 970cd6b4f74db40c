"""What a blend is worth, in a table, a figure and a sentence."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tasks.evaluation.metrics import log_loss
from tasks.figures import blend
from tasks.models.scoring import sigmoid

Y_TRUE = np.array([0.0, 1.0, 0.0, 1.0])
LOGITS = np.array([[-1.0, 2.0, 1.0, 1.0], [-2.0, -0.5, -1.0, 2.0]])


def table(first=0.5):
    return blend.losses({"blend": first, "b": 1 - first}, LOGITS, Y_TRUE, None)


def test_each_part_the_mean_and_the_blend_have_their_loss():
    """A part may be named blend; with equal weights the blend is the mean."""
    loss = table().set_index("model")["log_loss"]
    assert loss["blend"] == pytest.approx(log_loss(Y_TRUE, sigmoid(LOGITS[0])))
    assert loss[blend.BLENDED] == loss[blend.EQUAL]
    assert loss[blend.BLENDED] == pytest.approx(log_loss(Y_TRUE, sigmoid(LOGITS.mean(axis=0))))


def test_the_answer_says_what_it_gains_and_who_is_idle():
    """Against the best part; a part of weight 0 costs requests for nothing."""
    text = blend.answer("mean", table())
    assert "below that of its best part" in text and "blend 0.50" in text
    assert "adds nothing" not in text
    alone = blend.answer("mean", table(first=0.0))
    assert "no better than its best part, b" in alone
    assert "blend adds nothing to the others" in alone


def test_the_figure_has_a_point_per_row_and_its_unit():
    """Weights stand beside the parts."""
    figure = blend.compared(table(), title="mean: its parts")
    (axes,) = figure.axes
    assert len(axes.get_yticks()) == 4 and "nats" in axes.get_xlabel()
    assert [one.get_text() for one in axes.texts if one.get_text()] == ["weight 0.50"] * 2
    plt.close(figure)
