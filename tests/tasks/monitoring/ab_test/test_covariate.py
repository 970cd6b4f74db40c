"""What may be a covariate, and what a wrong one does."""

from dataclasses import replace

import numpy as np
import pytest

from bench.ab_test import covariate_errors
from tasks.monitoring.ab_test.impressions import Coded
from tasks.monitoring.ab_test.plan import Plan
from tasks.monitoring.ab_test.readout import read_out
from tasks.monitoring.ab_test.simulated import CONTROL, TREATMENT, World, simulate_experiment

PLAN = Plan({CONTROL: 1, TREATMENT: 1})
WORLD = World(units_per_day=400, days=6, days_before=3, return_chance=0.3)
ROWS = simulate_experiment(WORLD)


def note_of(rows, covariate):
    """Return the covariate that is used, and the note about it."""
    found = read_out(rows, replace(PLAN, covariate=covariate))
    return found.covariate, " ".join(one for one in found.notes if "covariate" in one)


def test_clicks_before_and_a_model_of_all_variants_are_used():
    """Nothing has to be said then."""
    for covariate in ("before", "shadow:fixed"):
        assert note_of(ROWS, covariate) == (covariate, "")


@pytest.mark.parametrize(
    ("rows", "covariate", "words"),
    [
        (ROWS.take(ROWS.experiment.codes == 1), "before", "no unit has impressions before"),
        (
            ROWS._replace(variant=Coded(ROWS.unit.codes % 2, [CONTROL, TREATMENT])),
            "before",
            "several variants answered",
        ),
        (ROWS, "shadow:other", "no shadow is called 'other'; exposures have fixed"),
        (
            ROWS._replace(shadow={"fixed": np.where(ROWS.variant.codes, np.nan, 0.1)}),
            "shadow:fixed",
            "fixed did not score",
        ),
        (
            ROWS._replace(shadow={"own": ROWS.p_click * (1 + 0.5 * ROWS.variant.codes)}),
            "shadow:own",
            "must not depend on the variant",
        ),
    ],
    ids=[
        "no past",
        "past of several variants",
        "no shadow",
        "half a shadow",
        "moved by the variant",
    ],
)
def test_what_is_no_covariate_is_left_out_and_said(rows, covariate, words):
    """The comparison is made without."""
    used, note = note_of(rows, covariate)
    assert used == "none"
    assert words in note


@pytest.mark.slow
def test_the_answering_models_prediction_would_make_up_a_difference():
    """A model that predicts 10% too much seems to lose clicks; the allowed covariates keep the truth."""
    world = World(60, 10, days_before=6, concentration=5.0, return_chance=0.3)
    found = {
        name: covariate_errors(world, name, n_draws=40)
        for name in ("none", "before", "a model of all variants", "the answering model")
    }
    assert all(abs(found[name][0]) < 3.5 for name in list(found)[:3])
    assert found["the answering model"][0] < -10
    assert found["a model of all variants"][1] < found["before"][1] < found["none"][1]
