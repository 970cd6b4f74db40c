"""Spaces: the defaults lie inside, integers stay integers, and a best value at an edge is said."""

import pytest

from tasks.errors import ConfigError
from tasks.models import KINDS, learner_class
from tasks.training.search_space import edge_notes, space_of, suggest


@pytest.mark.parametrize("kind", KINDS)
def test_a_learners_own_space_contains_its_defaults(kind):
    """So it is taken as it is."""
    space, defaults = space_of(kind, {}, {})
    assert space == learner_class(kind).search_space
    known = learner_class(kind)().get_params()
    assert defaults == {name: known[name] for name in space}


@pytest.mark.parametrize(
    ("name", "span", "widened"),
    [
        ("alpha", {"low": 0.2, "high": 0.9}, {"low": 0.1, "high": 0.9}),
        ("alpha", {"low": 0.001, "high": 0.01, "log": True}, {"low": 0.001, "high": 0.1, "log": True}),
        ("alpha", {"low": 0.05, "high": 0.2}, {"low": 0.05, "high": 0.2}),
        ("alpha", [0.2, 0.3], [0.1, 0.2, 0.3]),
        ("fit_intercept", [False], [True, False]),
    ],
)  # fmt: skip
def test_a_space_that_leaves_the_default_out_is_widened_by_it(name, span, widened):
    """A search cannot end worse than the defaults because they were forgotten."""
    space, _ = space_of("ftrl", {}, {"space": {name: span}})
    assert space == {name: widened}


def test_a_fixed_parameter_is_not_in_the_space():
    """What `params` fix is no question."""
    space, _ = space_of("ftrl", {"alpha": 0.3}, {})
    assert set(space) == {"l1", "l2"}


class Trial:
    """Notes how it is asked."""

    def suggest_int(self, name, low, high, log):
        return ("int", low, high, log)

    def suggest_float(self, name, low, high, log):
        return ("float", low, high, log)

    def suggest_categorical(self, name, choices):
        return ("choices", *choices)


@pytest.mark.parametrize(
    ("span", "default", "asked"),
    [
        ({"low": 2, "high": 16}, 4, ("int", 2, 16, False)),
        ({"low": 2, "high": 16, "log": True}, 4, ("int", 2, 16, True)),
        ({"low": 1, "high": 50}, 10.0, ("float", 1.0, 50.0, False)),
        (["l1", "l2"], "l2", ("choices", "l1", "l2")),
    ],
)
def test_integers_are_searched_as_integers(span, default, asked):
    """A learner refuses 4.7 factors."""
    assert suggest(Trial(), "any", span, default) == asked


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"alhpa": [0.1]}, "no parameter 'alhpa'"),
        ({"alpha": 3}, "choices or"),
        ({"alpha": {"low": 0.5, "high": 0.1}}, "choices or"),
        ({"alpha": {"low": 0, "high": 1, "log": True}}, "choices or"),
        ({"alpha": []}, "choices or"),
        ({"fit_intercept": {"low": 0, "high": 1}}, "list of choices"),
    ],
)
def test_a_mistake_in_a_space_is_one_line(plan, message):
    """Before the first trial."""
    with pytest.raises(ConfigError, match=message):
        space_of("ftrl", {}, {"space": plan})


LOG = {"low": 1e-6, "high": 1e-2, "log": True}


@pytest.mark.parametrize(
    ("span", "best", "edge"),
    [
        (LOG, 1.1e-6, "lower"),
        (LOG, 9.9e-3, "upper"),
        (LOG, 1e-4, None),
        (LOG, 5e-3, None),  # near the end only on a scale that is not its own
        ({"low": 0.0, "high": 1.0}, 0.0, "lower"),
        ([1e-6, 1e-5, 1e-4], 1e-4, "upper"),
        ([1e-6, 1e-5, 1e-4], 1e-5, None),
        ([0.05, 0.1], 0.1, None),  # two values have nothing between them
        (["l1", "l2", "elasticnet"], "l1", None),
    ],
)
def test_a_best_value_at_an_edge_is_said(span, best, edge):
    """With the side, and with where to widen it."""
    notes = edge_notes({"alpha": span}, {"alpha": best}, key="search.space")
    assert len(notes) == (edge is not None)
    if edge:
        assert f"lies at the {edge} edge" in notes[0] and "widen search.space.alpha" in notes[0]


def test_what_lightgbm_takes_without_listing_it_can_be_searched():
    """Its defaults are not to be had, so the low end, or the first choice, is tried first."""
    block = {"kind": "lightgbm:LGBMClassifier", "input": "categorical"}
    spans = {"cat_smooth": {"low": 1.0, "high": 50.0}, "num_leaves": {"low": 8, "high": 64}}
    space, defaults = space_of(block, {}, {"space": spans | {"extra_trees": [True, False]}})
    assert space["cat_smooth"] == spans["cat_smooth"]
    assert defaults == {"cat_smooth": 1.0, "num_leaves": 31, "extra_trees": True}
