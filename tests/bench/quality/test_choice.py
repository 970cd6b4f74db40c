"""How contestants are tuned, judged, summed up and drawn."""

import numpy as np
import pytest

from bench.quality.choice import Fitted, judge
from bench.quality.contestants import CONTESTANTS, OURS
from bench.quality.figure import draw
from bench.quality.rows import simulated
from bench.quality.tables import frontier, quality_table, summary
from tasks.evaluation.metrics import log_loss


class Constant:
    """Predicts its setting; the validation loss says which fits."""

    key, label, ours = "constant", "constant", False
    settings = ({"p": 0.9}, {"p": 0.17})

    def trial(self, setting, fold):
        """Return the validation loss and a number of passes."""
        return log_loss(fold.valid.label, np.full(len(fold.valid.label), setting["p"])), 3

    def fit(self, setting, n_passes, rows, fold):
        """Remember what was asked for."""
        self.asked = (n_passes, len(rows.label))
        return Fitted(lambda part: np.full(len(part.label), setting["p"]), 1.5)


def test_the_setting_with_the_lowest_validation_loss_is_trained_on_all_rows_before_the_test(
    tmp_path,
):
    """It is judged on the test rows, by labels and by the truth."""
    fold, contestant = simulated("table", n_rows=2000, seed=7, folder=tmp_path), Constant()
    found = judge(contestant, fold)
    assert (found["setting"], found["n_settings"], found["cpu_s"]) == ({"p": 0.17}, 2, 1.5)
    assert contestant.asked == (3, len(fold.train.label) + len(fold.valid.label))
    assert found["log_loss"] == pytest.approx(log_loss(fold.test.label, np.full(len(fold.test.label), 0.17)))  # fmt: skip
    assert found["distance"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("key", ["ftrl", "fm", "logistic", "lightgbm", "lightgbm_past", "ffm"])
def test_contestants_are_better_than_the_click_rate(key, tmp_path):
    """On a few thousand rows; ours and those peers that run in this environment."""
    fold = simulated("factors", n_rows=6000, seed=7, folder=tmp_path)
    contestant = CONTESTANTS[key]
    one = contestant.settings[1]
    _, n_passes = contestant.trial(one, fold)
    model = contestant.fit(one, n_passes, fold.train.then(fold.valid), fold)
    p_click = model.predict(fold.test)
    base = np.full(len(p_click), fold.train.label.mean())
    assert log_loss(fold.test.label, p_click) < log_loss(fold.test.label, base)
    assert model.cpu_s > 0


def test_ours_come_first_and_keys_are_unique():
    """Peers are never called ours."""
    keys = [one.key for one in CONTESTANTS.values()]
    assert keys == list(CONTESTANTS)
    assert all(one.ours for one in OURS)
    assert sum(one.ours for one in CONTESTANTS.values()) == len(OURS)


def test_nothing_on_the_frontier_is_beaten_in_both():
    """By a naive comparison of all pairs."""
    rng = np.random.default_rng(7)
    points = [(float(x), float(y)) for x, y in rng.random((30, 2))]
    free = [
        n
        for n, (x, y) in enumerate(points)
        if not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points)
    ]
    assert sorted(frontier(points)) == free


def records():
    """Return two folds of three contestants."""
    losses = {"ftrl": (0.40, 0.42), "fm": (0.41, 0.44), "vw": (0.39, 0.42)}
    times = {"ftrl": 0.1, "fm": 0.5, "vw": 0.4}
    return [
        {"log": "simulator", "fold": f"fold {n}", "contestant": key, "log_loss": loss, "distance": loss - 0.36, "cpu_s": times[key]}
        for key, both in losses.items()
        for n, loss in enumerate(both)
    ]  # fmt: skip


def test_a_summary_pairs_folds_with_the_best_of_ours():
    """By hand: differences -0.01 and 0 have the mean -0.005 and the standard error 0.005."""
    found = {one["contestant"]: one for one in summary(records(), order=["ftrl", "fm", "vw"])}
    assert found["vw"]["difference"] == pytest.approx(-0.005)
    assert found["vw"]["difference_se"] == pytest.approx(0.005)
    assert found["ftrl"]["difference"] == 0
    assert [found[key]["on_frontier"] for key in ("ftrl", "fm", "vw")] == [True, False, True]


def test_the_table_and_the_figure_show_every_contestant(tmp_path):
    """The lowest loss first, the frontier in bold; equal numbers give an equal figure."""
    found = summary(records(), order=["ftrl", "fm", "vw"])
    lines = quality_table(found).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["**VW**", "**ours, ftrl**", "ours, fm"]  # fmt: skip
    for name in ("a.svg", "b.svg"):
        draw(found, tmp_path / name)
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    assert "Simulated logs" in text
