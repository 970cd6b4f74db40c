"""What clicks can tell: whether predictions are further from them than chance explains.

Conventions: `n_clicks` and `n_impressions` are counts (sums of weights where rows have weights), `expected` is the sum
of the predictions over the same impressions.

References
----------
Hoeffding (1956), "On the distribution of the number of successes in independent trials", theorem 4: of all independent
trials with one mean number of successes, those of equal probability have the heaviest tails. The binomial tails below
therefore bound those of impressions with a probability each. Clopper and Pearson (1934) for the interval, Holm (1979)
for several tests at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_TINY = 1e-12  # a ratio of nothing
_CLASSES = 256  # of predictions, in which clicks are drawn


def tails(n_clicks: Any, n_impressions: Any, expected: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the chances of so few clicks or fewer, and of so many or more, if `expected` is right.

    Parameters
    ----------
    n_clicks, n_impressions, expected
        Numbers or arrays of one shape; counts may be fractions, between which the tails are interpolated.

    Returns
    -------
    tuple of ndarray
        Probabilities in [0, 1], exact for equal predictions, else upper bounds (see the module's reference).

    Examples
    --------
    >>> fewer, more = tails(0, 100, 3.0)
    >>> round(float(fewer), 4), float(more)  # 0.97 ** 100
    (0.0476, 1.0)
    """
    from scipy.special import betainc

    clicks, n, expected = np.broadcast_arrays(
        *(np.asarray(one, dtype=np.float64) for one in (n_clicks, n_impressions, expected))
    )
    rate = np.clip(expected / n, 0, 1)
    others = np.maximum(n - clicks, 0)
    with np.errstate(invalid="ignore"):
        fewer = np.where(others > 0, betainc(np.maximum(others, 1e-9), clicks + 1, 1 - rate), 1.0)
        more = np.where(clicks > 0, betainc(np.maximum(clicks, 1e-9), others + 1, rate), 1.0)
    return fewer, more


def ratio_interval(
    n_clicks: float, n_impressions: float, expected: float, *, level: float = 0.95
) -> tuple[float, float]:
    """Return the exact interval of the calibration ratio, `expected` over clicks; the upper end is inf without clicks.

    Examples
    --------
    >>> low, high = ratio_interval(100, 1000, 130.0)
    >>> f"{low:.2f} {high:.2f}"
    '1.08 1.58'
    """
    from scipy.special import betaincinv

    tail, others = (1 - level) / 2, max(n_impressions - n_clicks, 0.0)
    low = float(betaincinv(n_clicks, others + 1, tail)) if n_clicks > 0 else 0.0
    high = float(betaincinv(n_clicks + 1, others, 1 - tail)) if others > 0 else 1.0
    return expected / (high * n_impressions), (
        expected / (low * n_impressions) if low > 0 else float("inf")
    )


def holm(p_values: Any, alpha: float) -> np.ndarray:
    """Return which of several hypotheses are rejected, bool, so that one true one is with chance `alpha` at most.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03], 0.05).tolist()
    [True, False, False]
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_values, kind="stable")
    limits = alpha / np.arange(len(order), 0, -1)
    failed = np.flatnonzero(~(p_values[order] <= limits))  # NaN rejects nothing
    rejected = np.zeros(len(order), dtype=bool)
    rejected[order[: failed[0] if len(failed) else len(order)]] = True
    return rejected


def chance_of_ratio(
    n_clicks: Any, n_impressions: Any, expected: Any, *, overall: float = 1.0
) -> np.ndarray:
    """Return the two-sided chance of clicks so far from `expected`, if predictions are right up to the overall error.

    Parameters
    ----------
    overall
        The calibration ratio of the model as a whole. The chance is that under the more lenient of two readings: the
        predictions are right, or `overall` times too high here as everywhere.
    """
    expected = np.asarray(expected, dtype=np.float64)
    fewer, _ = tails(n_clicks, n_impressions, expected / max(overall, 1.0))
    _, more = tails(n_clicks, n_impressions, expected / min(max(overall, _TINY), 1.0))
    return np.minimum(1.0, 2 * np.minimum(fewer, more))


@dataclass(frozen=True)
class Promise:
    """What a model's predictions promise if they are right.

    Attributes
    ----------
    entropy
        The normalized entropy that is then expected.
    chance
        Of a normalized entropy as high as the one that was found, or higher.
    """

    entropy: float
    chance: float


def promise(
    p_click: np.ndarray,
    weight: np.ndarray | None,
    found: float,
    *,
    n_draws: int = 999,
    seed: int = 0,
) -> Promise:
    """Return how often predictions that are right would look as bad as `found` does, by drawing clicks from them.

    Parameters
    ----------
    p_click
        Probabilities, ``(n_rows,)``.
    weight
        Impressions per row, ``(n_rows,)``; None: 1.
    found
        The normalized entropy on the test rows.

    Notes
    -----
    Clicks are drawn in 256 classes of neighboring predictions, with the classes' mean logits, so that the cost does
    not grow with draws times rows. The chance counts the finding itself among the draws, which keeps it valid.

    References
    ----------
    Davison and Hinkley (1997), "Bootstrap methods and their application", section 4.2 (Monte Carlo tests).
    """
    p = np.clip(np.asarray(p_click, dtype=np.float64), 1e-15, 1 - 1e-15)
    w = np.ones(len(p)) if weight is None else weight
    order = np.argsort(p, kind="stable")
    p, w = p[order], w[order]
    clicks = w * p
    ends = np.minimum((np.cumsum(clicks) / clicks.sum() * _CLASSES).astype(int), _CLASSES - 1)
    n, expected = np.bincount(ends, w), np.bincount(ends, clicks)
    logit = np.bincount(ends, clicks * (np.log(p) - np.log1p(-p)))
    used = n > 0
    n, expected = n[used], expected[used]
    mean_logit = logit[used] / expected
    none = float(-(w * np.log1p(-p)).sum())  # the loss without a click
    total = float(n.sum())
    rng = np.random.default_rng(seed)
    chances = np.minimum(expected / n, 1)
    drawn = rng.binomial(np.maximum(np.round(n), 1).astype(np.int64), chances, (n_draws, len(n)))
    entropies = (none - drawn @ mean_logit) / _entropy(drawn.sum(axis=1), total)
    promised = (none - expected @ mean_logit) / _entropy(np.array([expected.sum()]), total)
    n_as_bad = int((entropies >= found).sum())  # not those without a click, which have none
    return Promise(float(promised[0]), (1 + n_as_bad) / (1 + n_draws))


def _entropy(n_clicks: np.ndarray, total: float) -> np.ndarray:
    """Return the loss of knowing only the click rate, in nats; NaN where all labels are of one kind."""
    rate = np.clip(n_clicks / total, 0, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return -total * (rate * np.log(rate) + (1 - rate) * np.log1p(-rate))


def clicks_needed(bounds: tuple[float, float], alpha: float) -> int:
    """Return the number of clicks from which on chance alone keeps a right model's ratio inside `bounds`.

    Of rare clicks, whose number is nearly Poisson: `alpha` is the chance of a ratio further off, both sides together.

    Examples
    --------
    >>> clicks_needed((0.8, 1.25), 0.05)
    80
    """
    from scipy.special import gammainc, gammaincc

    low, high = bounds
    n = np.arange(1, 200_001, dtype=np.float64)
    fewest, most = np.ceil(n / high) - 1, np.floor(n / low) + 1  # clicks just out of bounds
    outside = gammaincc(fewest + 1, n) + gammainc(most, n)
    enough = np.flatnonzero(outside > alpha)
    return int(n[enough[-1]]) + 1 if len(enough) else 1


def slice_evidence(
    slices: Sequence[Mapping[str, Any]], overall: float, gates: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return the chance of each slice's clicks, and whether the gates refuse it, ``(n_slices,)`` each.

    A slice is refused whose ratio is out of bounds, by more than chance and the model's `overall` calibration ratio
    explain; over all slices together, right predictions are so with chance ``gates.alpha`` at most.
    """
    low, high = np.array([gates.bounds_of(part) for part in slices]).T
    clicks, n, expected = (
        np.array([part[key] for part in slices], dtype=np.float64)
        for key in ("n_clicks", "n_impressions", "n_expected")
    )
    chance = chance_of_ratio(clicks, n, expected, overall=overall)
    is_out = (expected < low * clicks) | (expected > high * clicks)
    return chance, holm(chance, gates.alpha) & is_out
