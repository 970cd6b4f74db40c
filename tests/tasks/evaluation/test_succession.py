"""Who takes the champion's place: not what is worse, not by too few clicks, and not for nothing."""

import re

import pytest

from tasks.evaluation.succession import Paired, choose, no_worse, tells_enough


def against(difference: float, half: float = 0.001, n_clicks: float = 1000.0) -> Paired:
    """Return a comparison with a champion of log loss 0.4, with an interval of that half width."""
    return Paired(10_000, n_clicks, 0.4, difference, difference - half, difference + half, half)


@pytest.mark.parametrize(
    ("difference", "passed", "said"),
    [
        (-0.002, True, "log loss -0.00200 against the champion's 0.4000 on the same 10,000 rows"),
        (0.0, True, r"95% interval -0.00100 to \+0.00100"),
        (0.0009, True, "so much may be chance"),
        (0.0011, False, "worse by more than chance explains"),
        (float("nan"), False, "nan"),
    ],
)
def test_only_what_is_worse_beyond_the_interval_is_refused(difference, passed, said):
    """A point above the champion's is no reason."""
    found = no_worse(against(difference), max_relative_loss=0)
    assert found[0] == passed
    assert re.search(said, found[1])


def test_a_tolerated_loss_counts_as_none():
    """The interval has to lie above what the knob allows."""
    assert no_worse(against(0.0045), max_relative_loss=0.01)[0]
    passed, reason = no_worse(against(0.0055), max_relative_loss=0.01)
    assert not passed
    assert "limit +0.00400" in reason


def test_a_wide_interval_replaces_no_champion():
    """With how many clicks would make it narrow: four times as many halve it."""
    limits = {"max_undetected_loss": 0.01, "clicks_needed": 120}
    assert tells_enough(against(0.0, half=0.004), **limits)[0]
    passed, reason = tells_enough(against(0.0, half=0.008), **limits)
    assert not passed
    assert "would not show a log loss 1.0% above its; about 4,000 clicks are needed" in reason


def test_better_by_more_than_chance_needs_no_narrow_interval():
    """But as many clicks as any verdict needs."""
    limits = {"max_undetected_loss": 0.01, "clicks_needed": 120}
    assert tells_enough(against(-0.02, half=0.015), **limits)[0]
    assert not tells_enough(against(-0.02, half=0.015, n_clicks=60), **limits)[0]


def test_more_clicks_narrow_what_rows_leave_open_not_clusters():
    """A wide interval by cluster alone does not ask for clicks that would not help."""
    wide = Paired(10_000, 1000.0, 0.4, 0.0, -0.02, 0.02, 0.001)
    assert tells_enough(wide, max_undetected_loss=0.01, clicks_needed=120)[0]


def chosen(passing, paired=None, *, serving="ftrl", newer=True, lead=(-0.001, 0.001)):
    """Return the choice among models, with one interval for the excess of any over any."""
    return choose(
        passing,
        paired or {},
        serving=serving,
        max_relative_loss=0.0,
        is_newer=lambda name: newer,
        excess=lambda name, best: lead,
    )


def test_without_a_champion_the_best_serves():
    """Nothing to hold it against."""
    assert chosen(["fm", "ftrl"], serving=None) == ("fm", None)
    assert chosen([]) == (None, None)


def test_the_kind_that_serves_is_renewed_unless_another_is_better_beyond_chance():
    """Two equal models do not change places every day."""
    assert chosen(["fm", "ftrl"]).winner == "ftrl"
    assert (
        "the one that serves is renewed: fm is not better than ftrl" in chosen(["fm", "ftrl"]).why
    )
    assert chosen(["fm", "ftrl"], lead=(0.0002, 0.001)) == ("fm", None)
    assert chosen(["fm", "sgd"]) == ("fm", None)


def test_a_model_that_learned_nothing_newer_must_be_as_good():
    """Worse by a point within chance: no reason to change, and none to refuse it."""
    worse = {"ftrl": against(0.0005), "fm": against(0.0008)}
    assert chosen(["ftrl", "fm"], worse, newer=True).winner == "ftrl"
    stays = chosen(["ftrl", "fm"], worse, newer=False)
    assert stays.winner is None
    assert stays.why.startswith("the champion stays: ftrl passes, but is not better")
    assert chosen(["ftrl"], {"ftrl": against(-0.0001)}, newer=False).winner == "ftrl"
