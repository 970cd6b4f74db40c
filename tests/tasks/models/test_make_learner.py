"""Learners by the name that env.yaml gives them."""

import pytest

from tasks.errors import ConfigError
from tasks.models import KINDS, make_learner


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_made_and_has_a_space_to_search(kind):
    """Defaults are in range, and every searched parameter is one that the learner has."""
    learner = make_learner(kind, 16, random_state=3)
    assert learner.n_features == 16
    assert set(learner.search_space) <= set(learner.get_params())


def test_the_seed_reaches_the_learner_that_draws():
    """FTRL draws nothing and takes none."""
    assert make_learner("sgd", 16, random_state=3).random_state == 3
    assert "random_state" not in make_learner("ftrl", 16, random_state=3).get_params()


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        ("forest", {}, "choose from sgd, ftrl"),
        ("ftrl", {"alhpa": 1}, "no parameter 'alhpa'"),
        ("ftrl", {"alpha": -1}, "alpha"),
    ],
)
def test_a_mistake_in_the_configuration_is_one_line(kind, params, message):
    """It names what was found and what there is."""
    with pytest.raises(ConfigError, match=message):
        make_learner(kind, 16, **params)
