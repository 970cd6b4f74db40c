"""Whether the variants got the units that they should: if not, something loses units, and no difference can be read.

Each unit counts once, on its first day: all days together, and each day's new units by themselves. The test is
tea-tasting's ``SampleRatio``.

References
----------
Fabijan et al. (2019), "Diagnosing sample ratio mismatch in online controlled experiments".
"""

import numpy as np

from tasks.monitoring.ab_test.record import RatioRecord

ALPHA = 0.01  # chance of a false mismatch, whatever the number of looks, days and treatments


def level_of(number: int, n_treatments: int) -> float:
    """Return the level of the test of the `number`-th day, from 1; over all days, levels sum up to half of `ALPHA`.

    Examples
    --------
    >>> round(sum(level_of(number, 1) for number in range(1, 100_000)), 4)
    0.005
    """
    return ALPHA / (2 * n_treatments) / (number * (number + 1))


def check_ratio(
    control: np.ndarray,
    treatment: np.ndarray,
    days: np.ndarray,
    *,
    share: float,
    name: str,
    n_treatments: int = 1,
) -> list[RatioRecord]:
    """Return the test of all units until the last day, and that of each day's new units.

    Half of `ALPHA` is for what is looked at again every day, all units so far, the other half for the days; the later
    the day, the smaller its share, so that it lasts for any number of days.

    Parameters
    ----------
    control, treatment
        First day of each unit, ``(n_units,)`` each.
    days
        The days of the experiment, in order.
    share
        Of the treatment's units among both.
    name
        Of the treatment.
    n_treatments
        How many are tested.
    """
    from tea_tasting.metrics import SampleRatio

    test = SampleRatio(share / (1 - share))

    def checked(day: str, n: tuple[int, int], number: int) -> RatioRecord:
        level = level_of(number, n_treatments)
        p_value = _p_value(test, *n) if sum(n) else 1.0
        return RatioRecord(day, name, *n, share, p_value, level, p_value < level)

    out = [checked("all", (len(control), len(treatment)), len(days))]
    for number, day in enumerate(days.tolist(), 1):
        n = (int((control == day).sum()), int((treatment == day).sum()))
        if sum(n):
            out.append(checked(str(np.datetime64(day, "D")), n, number))
    return out


def _p_value(test: object, n_control: int, n_treatment: int) -> float:
    from tea_tasting.aggr import Aggregates

    counts = {0: Aggregates(n_control), 1: Aggregates(n_treatment)}
    return float(test.analyze(counts, 0, 1).pvalue)  # type: ignore[attr-defined]
