"""What pairs cost per row."""

from bench.pairs import simulated_rows, time_per_row
from tasks.models import make_learner


def test_every_kind_is_timed_on_the_same_rows():
    """Each has a time of its own, per row; what they learn is the log's."""
    codes, label = simulated_rows(1_200)
    assert codes.shape == (1_200, 24) and 0 < label.mean() < 1
    learners = {
        kind: make_learner(kind, 2**20, n_tokens=24, **params)
        for kind, params in (("ftrl", {}), ("ftrl_pairs", {"pair_bits": 12}))
    }
    each_us = time_per_row(learners, codes, label, n_runs=1)
    assert each_us.keys() == learners.keys()
    assert all(row_us > 0 for row_us in each_us.values())
    assert learners["ftrl_pairs"].pair_state_[:, 1].any()
