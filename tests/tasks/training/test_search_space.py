"""Spaces: nothing outside is tried, integers stay integers, and a best value at an edge is said."""

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
    ("name", "span", "first"),
    [
        ("alpha", {"low": 0.2, "high": 0.9}, {}),
        ("alpha", {"low": 0.001, "high": 0.01, "log": True}, {}),
        ("alpha", {"low": 0.05, "high": 0.2}, {"alpha": 0.05}),
        ("alpha", [0.2, 0.3], {}),
        ("alpha", [0.3, 0.05], {"alpha": 0.05}),
        ("fit_intercept", [False], {}),
    ],
)
def test_a_default_is_tried_only_inside_the_space(name, span, first):
    """The space is what was asked for: nothing outside of it is tried."""
    assert space_of("ftrl", {}, {"space": {name: span}}) == ({name: span}, first)


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
    ("kind", "name", "span", "asked"),
    [
        ("fm", "n_factors", {"low": 2, "high": 16}, ("int", 2, 16, False)),
        ("fm", "n_factors", {"low": 2, "high": 16, "log": True}, ("int", 2, 16, True)),
        ("ftrl", "l2", {"low": 1, "high": 50}, ("float", 1.0, 50.0, False)),
        ("sgd", "penalty", ["l1", "l2"], ("choices", "l1", "l2")),
        ("sgd", "penalty", ["elasticnet"], ("choices", "elasticnet")),
    ],
)
def test_integers_are_searched_as_integers(kind, name, span, asked):
    """A learner refuses 4.7 factors, and takes 4.7 as a penalty."""
    space, _ = space_of(kind, {}, {"space": {name: span}})
    assert suggest(Trial(), name, space[name]) == asked


@pytest.mark.parametrize(
    ("kind", "plan", "message"),
    [
        ("sgd", {"penalty": ["l2", "huh"]}, "the space of 'penalty' holds 'huh': "),
        ("fm", {"n_factors": {"low": 2.5, "high": 8}}, "is an integer, so low and high are"),
        ("fm", {"n_factors": {"low": -4, "high": 8}}, "the space of 'n_factors' holds -4: "),
        ("ftrl", {"alpha": {"low": -1.0, "high": 1.0}}, "the space of 'alpha' holds -1.0: "),
        ("ftrl", ["alpha"], "space must map parameters to choices"),
    ],
)
def test_an_odd_space_is_one_line(kind, plan, message):
    """What the learner would refuse in the middle of the search, before the first trial."""
    with pytest.raises(ConfigError, match=message) as caught:
        space_of(kind, {}, {"space": plan})
    assert "\n" not in str(caught.value)


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
    """Its defaults are not to be had, so they are not tried first."""
    block = {"kind": "lightgbm:LGBMClassifier", "input": "categorical"}
    spans = {"cat_smooth": {"low": 1.0, "high": 50.0}, "num_leaves": {"low": 8, "high": 64}}
    space, defaults = space_of(block, {}, {"space": spans | {"extra_trees": [True, False]}})
    assert space["cat_smooth"] == spans["cat_smooth"]
    assert defaults == {"num_leaves": 31}
