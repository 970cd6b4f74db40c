"""FTRL over tokens and pairs."""

from tests.tasks.models.checks import check_learner


def test_it_is_a_learner_of_the_pipeline():
    """All that training and serving need."""
    check_learner("ftrl_pairs", pair_bits=12)
