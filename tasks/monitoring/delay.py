"""How long clicks take to arrive, and how many are still to come.

The model of Chapelle (2014): an impression is clicked with probability c, and its click arrives after an exponential
delay of rate lambda, so that one without a click so far, t seconds old, has the likelihood 1 - c + c exp(-lambda t).
Fitted by expectation maximization (his section 3.1, without features, where both steps are closed forms).

References
----------
Chapelle (2014), "Modeling delayed feedback in display advertising", KDD.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

N_BINS = 400
_SHORTEST_S = 0.5


def bin_edges(window_s: float) -> np.ndarray:
    """Return the edges of the bins for ages and delays, seconds, ``(N_BINS + 1,)``: equal steps of the logarithm."""
    return np.concatenate([[0.0], np.geomspace(_SHORTEST_S, window_s, N_BINS)])


def bin_of(seconds: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the bin of each age or delay, int64; what is longer than the window is in the last."""
    return np.clip(np.searchsorted(edges, seconds, side="right") - 1, 0, N_BINS - 1)


@dataclass(frozen=True)
class DelayModel:
    """A fitted delay.

    Attributes
    ----------
    p_click
        Chance of a click at any time, in [0, 1].
    mean_s
        Mean delay, seconds.
    window_s
        The attribution window, seconds: later clicks do not count.
    observed
        Share of the delays of completed impressions up to each edge of :func:`bin_edges`; None if too few are known.
    """

    p_click: float
    mean_s: float
    window_s: float
    observed: np.ndarray | None = None

    def share_arrived(self, age_s: Any) -> np.ndarray:
        """Return the share of its clicks that an impression of this age has, in [0, 1]: the lower of model and observation.

        Examples
        --------
        >>> model = DelayModel(p_click=0.1, mean_s=60.0, window_s=3600.0)
        >>> model.share_arrived([0, 60, 3600]).round(3).tolist()
        [0.0, 0.632, 1.0]
        """
        age = np.clip(np.asarray(age_s, dtype=np.float64), 0, self.window_s)
        share = np.expm1(-age / self.mean_s) / np.expm1(-self.window_s / self.mean_s)
        if self.observed is not None:
            share = np.minimum(share, np.interp(age, bin_edges(self.window_s), self.observed))
        return np.where(age >= self.window_s, 1.0, share)

    def mature_age_s(self, share: float) -> float:
        """Return the age in seconds at which this share of the clicks has arrived, at most the window."""
        ages = bin_edges(self.window_s)
        return float(ages[np.argmax(self.share_arrived(ages) >= share)])


def fit_delay(
    ages: np.ndarray, delays: np.ndarray, sum_delays_s: float, window_s: float, n_rounds: int = 500
) -> DelayModel | None:
    """Return the delay that fits, None without a click.

    Parameters
    ----------
    ages
        Impressions without a click so far by age, counts per bin of :func:`bin_edges`, ``(N_BINS,)``.
    delays
        Clicks by delay, counts per bin, ``(N_BINS,)``.
    sum_delays_s
        Sum of the delays, seconds.
    window_s
        The attribution window, seconds.
    n_rounds
        Maximum number of rounds; it ends earlier when the parameters stand still.
    """
    n_clicks, n_open = float(delays.sum()), float(ages.sum())
    if not n_clicks:
        return None
    edges = bin_edges(window_s)
    age = (edges[1:] + edges[:-1]) / 2
    p, rate = n_clicks / (n_clicks + n_open), n_clicks / max(sum_delays_s, n_clicks * 1e-3)
    for _ in range(n_rounds):
        late = p * np.exp(-rate * age)
        will_click = ages * late / (1 - p + late)
        before = (p, rate)
        p = min((n_clicks + will_click.sum()) / (n_clicks + n_open), 1 - 1e-12)
        rate = n_clicks / max(sum_delays_s + float(will_click @ age), n_clicks * 1e-3)
        if np.allclose(before, (p, rate), rtol=1e-9):
            break
    return DelayModel(p, 1 / rate, window_s)
