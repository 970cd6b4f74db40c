"""What metrics rely on: checked arrays, losses, means with their errors."""

import numpy as np
import pytest

from tasks.evaluation.rows import checked_cluster, mean_with_error, row_losses


def test_the_loss_of_a_row_is_that_of_its_label():
    """By hand; a certain prediction that is wrong costs 36 nats, not infinitely many."""
    np.testing.assert_allclose(row_losses([1, 0], [0.25, 0.25]), [-np.log(0.25), -np.log(0.75)])
    assert row_losses([1], [0.0])[0] == pytest.approx(36.04, abs=0.01)


@pytest.mark.parametrize("cluster", [[1, 2], [0.5, 1.0, 2.0], [[1, 2, 3]]])
def test_clusters_are_one_integer_per_row(cluster):
    """A fraction would be cut, a shorter list misread."""
    with pytest.raises(ValueError, match="one integer per row, 3, found"):
        checked_cluster(cluster, 3)


def test_the_error_of_a_mean_is_the_textbooks():
    """Standard deviation over the root of n, of each column."""
    values = np.random.default_rng(1).normal(size=(400, 2)) * [1.0, 3.0]
    mean, error = mean_with_error(values)
    np.testing.assert_allclose(mean, values.mean(axis=0))
    np.testing.assert_allclose(error, values.std(axis=0) / 20)


def test_the_error_by_cluster_is_that_of_the_sums_of_clusters():
    """A naive loop over the clusters, with weights."""
    rng = np.random.default_rng(2)
    values, weight = rng.normal(size=300), rng.uniform(0.5, 3, 300)
    cluster = rng.integers(0, 40, 300)
    mean, error = mean_with_error(values, weight, cluster)
    sums = [
        sum(w * (x - mean) for x, w, c in zip(values, weight, cluster, strict=True) if c == one)
        for one in range(40)
    ]
    assert error == pytest.approx(np.sqrt(sum(total**2 for total in sums)) / weight.sum())


def test_clusters_of_one_row_are_single_rows():
    """Whatever they are called."""
    values = np.arange(50.0)
    alone, named = mean_with_error(values), mean_with_error(values, cluster=np.arange(50) * 7 - 3)
    np.testing.assert_allclose(alone, named)
