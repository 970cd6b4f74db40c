"""Who serves next: each candidate against the champion on the same rows, and which of those that pass takes its place."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Interval = tuple[float, float]


@dataclass(frozen=True)
class Paired:
    """A candidate's log loss minus the champion's, both on the rows that neither has learned.

    Attributes
    ----------
    n_rows, n_clicks
        Those rows, and their clicks (by weight where rows have weights).
    champion_loss
        The champion's log loss on them, nats.
    difference
        Nats; below 0 the candidate is better.
    low, high
        Its 95% interval, both models bootstrapped on the same resamples, by cluster where rows hang together.
    half_by_rows
        Half the 95% interval if every row were independent: what more clicks would narrow.
    """

    n_rows: int
    n_clicks: float
    champion_loss: float
    difference: float
    low: float
    high: float
    half_by_rows: float

    @property
    def shown(self) -> str:
        """The difference with its interval, as text."""
        return f"{self.difference:+.5f} ({self.low:+.5f} to {self.high:+.5f})"


def no_worse(paired: Paired, *, max_relative_loss: float) -> tuple[bool, str]:
    """Return whether a candidate is not worse than the champion by more than chance explains, and why.

    Parameters
    ----------
    max_relative_loss
        How much worse it may be, as a share of the champion's log loss.

    Examples
    --------
    >>> no_worse(Paired(9000, 900.0, 0.3, 0.001, -0.001, 0.003, 0.002), max_relative_loss=0)[0]
    True
    """
    limit = max_relative_loss * paired.champion_loss
    reason = (
        f"log loss {paired.difference:+.5f} against the champion's {paired.champion_loss:.4f} on the same "
        f"{paired.n_rows:,} rows (95% interval {paired.low:+.5f} to {paired.high:+.5f}"
        + (f", limit {limit:+.5f})" if limit else ")")
    )
    if _as_good(paired, max_relative_loss):
        return True, reason
    if paired.low <= limit:  # NaN is not
        return True, f"{reason}: so much may be chance"
    return False, f"{reason}: worse by more than chance explains"


def tells_enough(
    paired: Paired, max_undetected_loss: float, clicks_needed: int
) -> tuple[bool, str]:
    """Return whether the rows would show a candidate that is worse, and how many clicks are needed if not.

    Parameters
    ----------
    max_undetected_loss
        The share of the champion's log loss by which a candidate may be worse unseen: half the interval by rows.
    clicks_needed
        Clicks at least, whatever the interval (:attr:`tasks.evaluation.gates.Gates.clicks_needed`).

    Notes
    -----
    An interval by rows narrows with the square root of the clicks, from which follows how many are needed; one by cluster
    narrows with the clusters, of which no knob gives more. A candidate that is better by more than chance
    explains needs no narrow interval.
    """
    half, tolerated = paired.half_by_rows, max_undetected_loss * paired.champion_loss
    is_sure = paired.high < 0 or half <= tolerated  # NaN is neither
    needed = clicks_needed
    if not is_sure and math.isfinite(half):
        needed = max(needed, math.ceil(paired.n_clicks * (half / tolerated) ** 2))
    if is_sure and paired.n_clicks >= needed:
        return True, f"{paired.n_clicks:,.0f} clicks are enough to compare it with the champion"
    return False, (
        f"{paired.n_clicks:,.0f} clicks among {paired.n_rows:,} rows are too few to replace a champion by: they would not "
        f"show a log loss {max_undetected_loss:.1%} above its; about {needed:,} clicks are needed: take a longer log, "
        "or a larger split.test_share"
    )


class Choice(NamedTuple):
    """The model that takes the champion's place, None if the champion stays; and why not simply the best, if so."""

    winner: str | None
    why: str | None


def choose(
    passing: Sequence[str],
    paired: Mapping[str, Paired],
    *,
    serving: str | None,
    max_relative_loss: float,
    is_newer: Callable[[str], bool],
    excess: Callable[[str, str], Interval | None],
) -> Choice:
    """Return which of the models that pass the gates is to serve.

    The best on the test rows, except that two equal models do not change places for nothing: a model that learned nothing newer
    than the champion has to be as good on the same rows, and the kind that serves is renewed unless another is
    better by more than chance explains.

    Parameters
    ----------
    passing
        The models that pass, lowest log loss first.
    paired
        How those that were compared with the champion came out.
    serving
        The champion's name in the pipeline; None while nothing serves that they were compared with.
    max_relative_loss
        How much worse than the champion counts as no worse, as a share of its log loss.
    is_newer
        Whether a model learned rows that are newer than all of the champion's.
    excess
        The 95% interval of the log loss of one model minus that of another.
    """
    if not passing or serving is None:
        return Choice(passing[0] if passing else None, None)
    able = [
        name
        for name in passing
        if name not in paired or _as_good(paired[name], max_relative_loss) or is_newer(name)
    ]
    if not able:
        return Choice(
            None,
            f"the champion stays: {passing[0]} passes, but is not better on the same rows, and has learned nothing newer",
        )
    best = able[0]
    if serving in able[1:] and (lead := excess(serving, best)) is not None and lead[0] <= 0:
        return Choice(
            serving,
            f"of equal models the one that serves is renewed: {best} is not better than {serving} by more than chance "
            f"explains (95% interval of the difference {lead[0]:+.5f} to {lead[1]:+.5f})",
        )
    return Choice(best, None)


def _as_good(paired: Paired, max_relative_loss: float) -> bool:
    return paired.difference <= max_relative_loss * paired.champion_loss
