"""What deserves a person's attention, with a promise of how often it is chance.

Each window of hours is a family of hypotheses: nothing changed. Holm's rule over the family keeps the chance of one
false rejection within the window's share of `max_false_alarms_per_week`; and whatever is rejected is an alert only if
it is also large enough to matter. Windows of inputs and of quality are separate families, as labels come later, and
share the promise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tasks.evaluation.evidence import holm

_WEEK_HOURS = 168


@dataclass(frozen=True)
class Limits:
    """When an alert is due.

    Attributes
    ----------
    max_false_alarms_per_week
        How many alerts a week without any change may bring on average.
    max_psi
        PSI above this is large.
    max_unseen_share, max_missing_share
        How much above its usual share of an hour.
    calibration_ratio
        Low and high: what lies within them is small.
    """

    max_false_alarms_per_week: float
    max_psi: float
    max_unseen_share: float
    max_missing_share: float
    calibration_ratio: tuple[float, float]


class Finding(NamedTuple):
    """One hypothesis of one window.

    Attributes
    ----------
    kind, subject
        ``psi``, ``unseen``, ``missing``, ``calibration``, ``traffic`` or ``variant_share``; the field, variant or slice.
    window
        Number of the window.
    value, bound
        What was found, and from where on it is large.
    chance
        Of a finding as extreme without any change.
    is_large
        Whether it matters if it is true.
    """

    kind: str
    subject: str
    window: int
    value: float
    bound: float
    chance: float
    is_large: bool


def alarming(findings: Sequence[Finding], limits: Limits, window_hours: int) -> list[Finding]:
    """Return the findings of one family of one window that are alerts."""
    alpha = limits.max_false_alarms_per_week * window_hours / _WEEK_HOURS / 2
    rejected = holm([one.chance for one in findings], min(alpha, 0.5))
    return [one for one, sure in zip(findings, rejected, strict=True) if sure and one.is_large]


def episodes(alerts: Sequence[Finding], *, gap: int = 1) -> list[dict[str, Any]]:
    """Return alerts of one kind and subject in windows next to each other as one, the first to begin first.

    Up to `gap` quiet windows within do not end one.

    Returns
    -------
    list of dict
        ``kind``, ``subject``, ``first_window``, ``last_window``, ``n_windows``, and ``value``, ``bound``, ``chance`` of
        its least likely window.
    """
    out: list[dict[str, Any]] = []
    open_ones: dict[tuple[str, str], dict[str, Any]] = {}
    for one in sorted(alerts, key=lambda found: (found.window, found.kind, found.subject)):
        episode = open_ones.get(one[:2])
        if episode is None or one.window - episode["last_window"] > gap + 1:
            episode = {"kind": one.kind, "subject": one.subject, "first_window": one.window}
            episode |= {"n_windows": 0, "chance": float("inf")}
            open_ones[one[:2]] = episode
            out.append(episode)
        episode["last_window"] = one.window
        episode["n_windows"] += 1
        if one.chance < episode["chance"]:
            episode |= {"value": one.value, "bound": one.bound, "chance": one.chance}
    return out
