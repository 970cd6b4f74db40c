"""Requests of a day, second by second: a daily curve, bursts, and chance."""

from dataclasses import dataclass

import numpy as np

from tasks.simulation.clock import HOUR_OF_DAY

DAY_S = 86_400


@dataclass(frozen=True)
class Traffic:
    """What is assumed of a day; none of it is measured here.

    Attributes
    ----------
    bursts_per_day
        Mean number of bursts, at times that are independent of each other.
    burst_height
        Mean of the exponentially distributed height of a burst, as a share of the rate at that moment.
    burst_s
        A burst begins at once and decays exponentially with this time constant.
    """

    bursts_per_day: float = 12.0
    burst_height: float = 0.4
    burst_s: float = 240.0


def daily_curve() -> np.ndarray:
    """Return the expected rate of each second of a day over that of the busiest, ``(86400,)``.

    The hours are those of the simulated log (`tasks.simulation.clock`), joined by lines.
    """
    middles = (np.arange(24) + 0.5) * 3_600
    rate = np.interp(np.arange(DAY_S), middles, HOUR_OF_DAY, period=DAY_S)
    return rate / rate.max()


def mean_over_peak() -> float:
    """Return the mean rate of a day over that of its busiest second, bursts left out."""
    return float(daily_curve().mean())


def peak_rate(impressions_per_day: float) -> float:
    """Return the requests per second at the peak of a day with that many, one request per impression."""
    return impressions_per_day / DAY_S / mean_over_peak()


def draw_requests(peak_per_s: float, traffic: Traffic, rng: np.random.Generator) -> np.ndarray:
    """Return the number of requests in each second of one day, ``(86400,)``."""
    rate = peak_per_s * daily_curve()
    raised = np.ones(DAY_S)
    for begin in rng.integers(0, DAY_S, rng.poisson(traffic.bursts_per_day)):
        since_s = np.arange(DAY_S - begin)
        raised[begin:] += rng.exponential(traffic.burst_height) * np.exp(-since_s / traffic.burst_s)
    return rng.poisson(rate * raised).astype(float)
