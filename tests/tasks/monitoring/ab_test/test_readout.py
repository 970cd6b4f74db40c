"""A whole read-out of simulated experiments: the verdict, and what may be wrong with the rows."""

from dataclasses import replace

import numpy as np
import pytest

from tasks.errors import ConfigError, DataCheckError
from tasks.monitoring.ab_test.impressions import Coded
from tasks.monitoring.ab_test.plan import Plan, declared_weights
from tasks.monitoring.ab_test.readout import read_out
from tasks.monitoring.ab_test.record import read_readout, write_readout
from tasks.monitoring.ab_test.simulated import CONTROL, TREATMENT, World, simulate_experiment

PLAN = Plan({CONTROL: 1, TREATMENT: 1})
WORLD = World(units_per_day=400, days=6, days_before=3)
ROWS = simulate_experiment(WORLD)


def test_a_large_lift_is_told_in_one_sentence(tmp_path):
    """With the interval that holds at every look; the record comes back as it was written."""
    found = read_out(simulate_experiment(replace(WORLD, lift=0.6)), PLAN)
    assert found.outcome == {TREATMENT: "better"}
    assert found.verdict.startswith("challenger gets ")
    assert "more clicks per impression than champion (" in found.verdict
    assert "valid at every look" in found.verdict
    assert found.covariate == "before"
    write_readout(tmp_path / "a.json", found)
    assert read_readout(tmp_path / "a.json") == found


def test_no_lift_cannot_be_told_yet_and_days_are_left():
    """In words that say when to look again."""
    found = read_out(ROWS, PLAN)
    assert found.outcome == {TREATMENT: "undecided"}
    assert "cannot tell yet" in found.verdict
    assert f"{found.powers[0].days_left:,} more days" in found.verdict


def test_with_much_traffic_no_lift_is_no_difference():
    """The whole interval is closer to zero than what is worth knowing."""
    found = read_out(ROWS, replace(PLAN, smallest_lift=0.5))
    assert found.outcome == {TREATMENT: "no_difference"}
    assert "differ by less than 50%" in found.verdict


def test_lost_units_stop_the_reading():
    """Whatever the lift."""
    found = read_out(simulate_experiment(replace(WORLD, lost=0.3, lift=0.6)), PLAN)
    assert found.verdict.startswith("Do not read this: challenger has ")
    assert found.outcome == {TREATMENT: "unreadable"}


def test_a_variant_without_exposures_stops_the_reading():
    """One arm only: no traceback, a sentence."""
    found = read_out(ROWS.take(ROWS.variant.is_(CONTROL)), PLAN)
    assert "challenger has 0 of the " in found.verdict
    assert found.looks[-1].why == "challenger has no impressions"


def test_without_any_click_nothing_can_be_told():
    """And it says how many clicks are wanted."""
    found = read_out(ROWS._replace(y_true=np.zeros(len(ROWS.day))), PLAN)
    assert found.verdict == "challenger: cannot tell, as champion has 0 clicks, fewer than 50."


def test_a_day_without_traffic_is_noted_and_changes_nothing():
    """The look at its end is that of the day before."""
    gone = ROWS.day == np.unique(ROWS.day)[-3]
    found = read_out(ROWS.take(~gone), PLAN)
    looks = [one.lift for one in found.looks if one.metric == "ctr"]
    assert looks[-3] == pytest.approx(looks[-4])
    assert any("days without an impression: 1" in note for note in found.notes)


def test_one_unit_with_most_impressions_is_named():
    """Its clicks say nothing about others."""
    heavy = np.flatnonzero(ROWS.experiment.codes == 1)[0]
    rows = ROWS.take(np.r_[np.arange(len(ROWS.day)), np.full(200_000, heavy)])
    found = read_out(rows, PLAN)
    assert "one unit has " in found.verdict


def test_units_with_answers_of_several_variants_stop_the_reading():
    """A unit is assigned once, or it is no experiment."""
    codes = np.random.default_rng(1).integers(0, 2, len(ROWS.day))
    found = read_out(ROWS._replace(variant=Coded(codes, ROWS.variant.names)), PLAN)
    assert "have answers of several variants" in found.verdict


def test_experiments_are_not_mixed():
    """The last one is read; another by its digest; none that is not there."""
    found = read_out(ROWS, PLAN)
    during = ROWS.experiment.codes == 1
    assert sum(one.n_impressions for one in found.arms) == during.sum()
    with pytest.raises(DataCheckError, match="no impression of experiment 'x'"):
        read_out(ROWS, PLAN, experiment="x")


def test_variants_that_the_plan_does_not_know_are_left_out():
    """And said; without any that it knows there is nothing to read."""
    with pytest.raises(
        DataCheckError, match="no impression of a or b; the log has champion, challenger"
    ):
        read_out(ROWS, Plan({"a": 1, "b": 1}, control="a"))


def test_a_slice_with_a_lift_of_its_own_is_found():
    """Holm over all slices leaves the others in doubt."""
    world = replace(WORLD, units_per_day=1500, lift_by_device={"4": 1.0})
    found = read_out(simulate_experiment(world), PLAN)
    assert [one.slice for one in found.slices if one.is_sure] == ["device_type=4"]


def test_a_field_without_values_has_no_slices():
    """Such as one that the service does not write; a missing value among others is one."""
    n = len(ROWS.day)
    fields = {"lost": Coded(np.zeros(n, int), [""]), "half": Coded(np.arange(n) % 2, ["", "x"])}
    found = read_out(ROWS._replace(fields=fields), PLAN)
    assert sorted(one.slice for one in found.slices) == ["half=(missing)", "half=x"]
    assert "no impression has a value of lost, so it has no slices" in found.notes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"alpha": 0}, "alpha must be a number between 0 and 1, found 0"),
        (
            {"control": "x"},
            "control is 'x', which has no weight; variants are champion, challenger",
        ),
        ({"weights": {CONTROL: 1}}, "is the only variant with a weight"),
        ({"weights": {CONTROL: 1, TREATMENT: "1"}}, "the weight of 'challenger' must be 0 or more"),
        ({"covariate": "after"}, "covariate must be none, before or shadow:NAME"),
    ],
    ids=["alpha", "control", "one variant", "weight", "covariate"],
)
def test_a_plan_that_cannot_be_read_is_one_line(changes, words):
    """Before any row is read."""
    with pytest.raises(ConfigError, match=words):
        replace(PLAN, **changes)


def test_weights_are_those_of_the_experiments_file(tmp_path):
    """By variant; a file without variants is one line."""
    path = tmp_path / "experiment.yaml"
    path.write_text("name: a\nvariants:\n  - {name: champion, weight: 9, model: m}\n")
    assert declared_weights(str(path)) == {"champion": 9}
    path.write_text("name: a\n")
    with pytest.raises(ConfigError, match="`variants` must be a list"):
        declared_weights(str(path))
