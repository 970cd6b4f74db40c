"""How far two distributions over bins are apart, and whether the number of rows explains it.

Conventions: `counts` are rows per bin, ``(N_BINS,)``, of the rows that are judged; `reference` of those they are held
against, in which nothing is unseen.
"""

import numpy as np

from tasks.monitoring.bins import N_TOP, REST, UNSEEN

_PRIOR = 0.5  # rows added to each bin, so that an empty one is not infinitely far


def merged(counts: np.ndarray) -> np.ndarray:
    """Return counts in which unseen values are among the rest."""
    out = counts.copy()
    out[..., REST] += out[..., UNSEEN]
    out[..., UNSEEN] = 0
    return out


def shares(counts: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both as smoothed shares over the bins that either hits."""
    counts = merged(counts)
    used = (counts + reference) > 0
    n_bins = max(int(used.sum()), 1)
    p, q = ((one[used] + _PRIOR) / (one.sum() + _PRIOR * n_bins) for one in (counts, reference))
    return p, q


def psi(counts: np.ndarray, reference: np.ndarray) -> float:
    """Return the population stability index, from 0: ``sum((p - q) log(p / q))``, in nats.

    References
    ----------
    Siddiqi (2006), "Credit risk scorecards", chapter 8; it is the symmetric divergence of Jeffreys (1946).
    """
    p, q = shares(counts, reference)
    return float(((p - q) * np.log(p / q)).sum())


def jensen_shannon(counts: np.ndarray, reference: np.ndarray) -> float:
    """Return the Jensen-Shannon divergence in bits, 0 for the same distribution to 1 for two without a common value.

    References
    ----------
    Lin (1991), "Divergence measures based on the Shannon entropy"; SciPy gives its square root.
    """
    from scipy.spatial.distance import jensenshannon

    return float(jensenshannon(*shares(counts, reference), base=2)) ** 2


def noise(counts: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Return degrees of freedom and the unit of PSI that sampling alone explains: ``unit * chi2(df)``.

    References
    ----------
    Yurdakul and Naranjo (2020), "Statistical properties of the population stability index", Journal of Risk Model
    Validation 14(4).
    """
    counts = merged(counts)
    n, m = max(counts.sum(), 1), max(reference.sum(), 1)
    expected = n * (counts + reference) / (n + m)
    n_bins = int((expected[: N_TOP + 2] >= 1).sum())
    return max(n_bins - 1, 1), 1 / n + 1 / m


def excess_psi(counts: np.ndarray, reference: np.ndarray) -> float:
    """Return PSI less what sampling explains on average."""
    df, unit = noise(counts, reference)
    return psi(counts, reference) - df * unit


def chance_of_psi(
    found: float, counts: np.ndarray, reference: np.ndarray, usual: tuple[float, float]
) -> float:
    """Return the chance of a PSI as large, where it usually exceeds what sampling explains by `usual` (mean, sd).

    A gamma distribution with the mean and the variance of both together.

    References
    ----------
    Satterthwaite (1946), "An approximate distribution of estimates of variance components".
    """
    from scipy.special import gammaincc

    df, unit = noise(counts, reference)
    mean = df * unit + max(usual[0], 0.0)
    variance = 2 * df * unit**2 + usual[1] ** 2
    return float(gammaincc(mean**2 / variance, max(found, 0.0) * mean / variance))
