"""Intervals and p-values that hold at every look, however often and whenever one looks and stops.

Conventions: an estimate is normal around the truth with a known variance, as ratios over many units are by the delta
method; `variance` is that of the estimate so far. `scale` is the standard deviation of the normal mixture over true
values: any number that is fixed before the data keeps the promise, one near the effects to be seen gives the narrowest
intervals. As the variance itself is estimated, the promise is asymptotic: it counts from the first look with enough
units on.

References
----------
Johari, Koomen, Pekelis and Walsh (2017), "Peeking at A/B tests", section 5: the mixture sequential probability ratio
test and its always-valid p-value. Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), "Time-uniform central limit
theory and asymptotic confidence sequences", Annals of Statistics 52(6), theorem 2.2: the same boundary, with
``variance = sigma**2 / t`` and ``scale = 1 / rho`` in units of sigma.
"""

from math import exp, log, sqrt

from tasks.evaluation.rows import Z_95


def half_width(variance: float, *, alpha: float, scale: float) -> float:
    """Return half the width of the confidence sequence at a look; all looks together miss with chance `alpha` at most.

    Parameters
    ----------
    variance
        Of the estimate, above 0.
    alpha
        In (0, 1).
    scale
        Of the mixture, above 0, in the unit of the estimate.

    Examples
    --------
    >>> round(half_width(0.01**2, alpha=0.05, scale=0.03), 4), round(1.96 * 0.01, 4)  # one look
    (0.0304, 0.0196)
    """
    wide = variance + scale**2
    return sqrt(variance * wide / scale**2 * log(wide / (variance * alpha**2)))


def always_valid_p(estimate: float, variance: float, *, scale: float) -> float:
    """Return the p-value of no effect, below any alpha at some look with chance alpha at most if there is none.

    It is 1 over the likelihood ratio of the mixture against no effect, and below alpha where zero is outside of
    ``estimate ± half_width(variance, alpha=alpha, scale=scale)``.

    Examples
    --------
    >>> round(always_valid_p(0.0304, 0.01**2, scale=0.03), 2)
    0.05
    """
    wide = variance + scale**2
    exponent = log(wide / variance) / 2 - estimate**2 * scale**2 / (2 * variance * wide)
    return exp(min(exponent, 0.0))


def smallest_effect(error: float, *, alpha: float, power: float, scale: float) -> float:
    """Return the effect that a look with this standard error sees with chance `power`.

    Examples
    --------
    >>> round(smallest_effect(0.01, alpha=0.05, power=0.8, scale=0.03), 4)
    0.0388
    """
    from scipy.special import ndtri

    return half_width(error**2, alpha=alpha, scale=scale) + float(ndtri(power)) * error


def error_needed(effect: float, *, alpha: float, power: float, scale: float) -> float:
    """Return the standard error at which an effect is seen with chance `power`.

    Examples
    --------
    >>> error = error_needed(0.0388, alpha=0.05, power=0.8, scale=0.03)
    >>> round(error, 4)
    0.01
    """
    low, high = effect * 1e-6, effect
    for _ in range(60):  # by bisection: the effect grows with the error
        middle = sqrt(low * high)
        seen = smallest_effect(middle, alpha=alpha, power=power, scale=scale) <= effect
        low, high = (middle, high) if seen else (low, middle)
    return low


def single_look(error: float) -> float:
    """Return half the width of the 95% interval of one look that was planned."""
    return Z_95 * error
