"""Inputs of each window against the training rows, and what is served to whom."""

from typing import Any

import numpy as np

from tasks.evaluation.evidence import tails
from tasks.monitoring.alerts import Finding, Limits
from tasks.monitoring.bins import MISSING, UNSEEN
from tasks.monitoring.divergence import chance_of_psi, jensen_shannon, psi
from tasks.monitoring.quality import chance_of_calibration, metrics
from tasks.monitoring.reference import Reference, Usual

FEWEST_ROWS = 200  # of a window whose inputs are judged
N_BEFORE = 24  # windows that traffic is held against
FEWEST_EXPECTED = 25.0  # clicks of a window whose calibration is judged


def drift_table(counts: np.ndarray, reference: Reference) -> list[dict[str, Any]]:
    """Return the drift of each field.

    Parameters
    ----------
    counts
        Rows per field and bin, ``(n_fields, N_BINS)``, fields as in `reference`.
    reference
        The training rows.

    Returns
    -------
    list of dict
        ``field``, ``psi``, ``jensen_shannon``, ``missing_share`` and ``unseen_share`` with their usual values
        (``usual_...``) and ``psi_usual``, the PSI that an hour of training rows had beyond its number of rows.
    """
    out = []
    for number, (name, field) in enumerate(reference.fields.items()):
        found, n_rows = counts[number], max(int(counts[number].sum()), 1)
        out.append(
            {
                "field": name,
                "psi": psi(found, field.counts),
                "jensen_shannon": jensen_shannon(found, field.counts),
                "psi_usual": field.psi.mean,
                "missing_share": float(found[MISSING] / n_rows),
                "usual_missing_share": field.missing.mean,
                "unseen_share": float(found[UNSEEN] / n_rows),
                "usual_unseen_share": field.unseen.mean,
            }
        )
    return out


def input_findings(
    counts: np.ndarray, reference: Reference, limits: Limits, window: int
) -> list[Finding]:
    """Return the hypotheses about the inputs of one window, three for each field; none of too few rows."""
    out = []
    for number, (name, field) in enumerate(reference.fields.items()):
        found = counts[number]
        if found.sum() < FEWEST_ROWS:
            continue
        value = psi(found, field.counts)
        chance = chance_of_psi(value, found, field.counts, (field.psi.mean, field.psi.sd))
        bound = limits.max_psi + max(field.psi.mean, 0.0)
        out.append(Finding("psi", name, window, value, bound, chance, value > bound))
        for kind, code, usual, more in (
            ("missing", MISSING, field.missing, limits.max_missing_share),
            ("unseen", UNSEEN, field.unseen, limits.max_unseen_share),
        ):
            out.append(_share(kind, name, window, found, code, usual, more))
    return out


def _share(
    kind: str, name: str, window: int, found: np.ndarray, code: int, usual: Usual, more: float
) -> Finding:
    """Return whether a share is higher than three standard deviations above the usual one can explain."""
    n_rows = float(found.sum())
    share, bound = found[code] / n_rows, min(usual.mean + more, 1.0)
    lenient = min(usual.mean + 3 * usual.sd + 1 / n_rows, 1.0)
    _, chance = tails(found[code], n_rows, lenient * n_rows)
    return Finding(kind, name, window, float(share), bound, float(chance), bool(share > bound))


def calibration_findings(
    sums: dict[str, np.ndarray],
    limits: Limits,
    window: int,
    *,
    overall: float = 1.0,
    kind: str = "calibration",
) -> list[Finding]:
    """Return the hypotheses about predictions of one window: that each part, by name, has as many clicks as expected.

    `sums` are those of :mod:`tasks.monitoring.tally`, ``(n_groups, 4)`` each. `overall` is the calibration ratio of all
    rows of the window: a part is judged by the more lenient of two readings, that predictions are right, or as wrong
    everywhere, so that what is wrong as a whole is one alert.
    """
    low, high = limits.calibration_ratio
    out = []
    for name, part in sums.items():
        total = part.sum(axis=0)
        if total[2] < FEWEST_EXPECTED:
            continue
        ratio = float(metrics(total)["calibration_ratio"]) if total[1] else float("inf")
        bound = high if ratio > 1 else low
        is_large = not (low <= ratio <= high or low <= ratio / overall <= high)
        chance = chance_of_calibration(part)
        if overall != 1.0:
            chance = max(chance, chance_of_calibration(part / np.array([1, 1, overall, 1])))
        out.append(Finding(kind, name, window, ratio, bound, chance, is_large))
    return out


def traffic_findings(rows: dict[str, np.ndarray], window: int) -> list[Finding]:
    """Return whether all exposures, or those of a variant, are missing in a window.

    `rows` are exposures by variant and window, ``(n_windows,)`` each. Held against up to `N_BEFORE` windows before it:
    the chance of none of a variant follows from its share of those, so that a new variant is no alert; of none at all it
    is 0, if they had at least 100 rows each in the middle.
    """
    before = slice(max(window - N_BEFORE, 0), window)
    total = np.sum(list(rows.values()), axis=0) if rows else np.zeros(window + 1)
    if not total[window]:
        typical = float(np.median(total[before])) if window else 0.0
        return [Finding("traffic", "all", window, 0.0, 1.0, 0.0, True)] if typical >= 100 else []
    out = []
    for name, one in rows.items():
        share = one[before].sum() / max(total[before].sum(), 1)
        chance = float((1 - share) ** total[window]) if not one[window] else 1.0
        value, is_none = float(one[window]), not one[window]
        out.append(Finding("variant_share", name, window, value, 1.0, chance, bool(is_none)))
    return out
