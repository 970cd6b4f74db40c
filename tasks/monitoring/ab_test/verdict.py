"""The read-out in one sentence per treatment, and in one word for programs."""

from collections.abc import Sequence

from tasks.monitoring.ab_test.plan import Plan
from tasks.monitoring.ab_test.record import LiftRecord, PowerRecord, RatioRecord

BETTER, WORSE, SAME = "better", "worse", "no_difference"
UNDECIDED, UNREADABLE = "undecided", "unreadable"


def unreadable(ratios: Sequence[RatioRecord], control: str) -> str:
    """Return why the whole experiment must not be read, or the empty text."""
    wrong = [one for one in ratios if one.is_mismatch]
    if not wrong:
        return ""
    worst = min(wrong, key=lambda one: (one.day != "all", one.p_value))
    n = worst.n_control + worst.n_treatment
    where = "" if worst.day == "all" else f" of the new ones on {worst.day}"
    others = len({one.day for one in wrong} - {"all", worst.day})
    more = f" and on {others} more days" if others and worst.day != "all" else ""
    return (
        f"Do not read this: {worst.treatment} has {worst.n_treatment:,} of the {n:,} units that it shares with "
        f"{control}{where}{more}, {worst.n_treatment / n:.2%} in place of {worst.expected_share:.2%} "
        f"(p = {worst.p_value:.1g}); find out where units are lost, then start again."
    )


def verdict_of(ctr: LiftRecord, power: PowerRecord, plan: Plan) -> tuple[str, str]:
    """Return the word and the sentence about a treatment.

    Parameters
    ----------
    ctr
        What the last look says about clicks.
    power
        What its traffic can show.
    plan
        What is compared with what.
    """
    name, control = ctr.treatment, plan.control
    if ctr.lift is None or ctr.low is None or ctr.high is None:
        return UNDECIDED, f"{name}: cannot tell, as {ctr.why}."
    wanted = f"{100 * plan.smallest_lift:.3g}%"
    if ctr.is_sure:
        more, low, high = (
            ("more", ctr.low, ctr.high) if ctr.lift > 0 else ("fewer", -ctr.high, -ctr.low)
        )
        reach = f"{100 * low:.1f}% to {100 * high:.1f}%, valid at every look"
        word = BETTER if ctr.lift > 0 else WORSE
        return (
            word,
            f"{name} gets {abs(ctr.lift):.1%} {more} clicks per impression than {control} ({reach}).",
        )
    if max(-ctr.low, ctr.high) < plan.smallest_lift:
        return SAME, (
            f"{name} and {control} differ by less than {wanted} in clicks per impression ({signed(ctr.low)} to "
            f"{signed(ctr.high)}, valid at every look)."
        )
    between = f"between {signed(ctr.low)} and {signed(ctr.high)}"
    start = f"{name} against {control}: cannot tell yet; the lift in clicks per impression lies {between}"
    left = power.days_left
    if left is None:
        return (
            UNDECIDED,
            f"{start}, and at the present traffic a lift of {wanted} will not be seen.",
        )
    if left == 0:
        return UNDECIDED, (
            f"{start}; a lift of {wanted} would have been seen by now with a chance of {plan.power:.0%}."
        )
    days = "1 more day" if left == 1 else f"{left:,} more days"
    return UNDECIDED, (
        f"{start}; {days} at the present traffic until a lift of {wanted} is seen with a chance of {plan.power:.0%}."
    )


def signed(value: float) -> str:
    """Return a share in percent with its sign.

    Examples
    --------
    >>> signed(0.0312), signed(-0.004), signed(0.0)
    ('+3.1%', '-0.4%', '0.0%')
    """
    text = f"{100 * value:+.1f}%"
    return "0.0%" if text in ("+0.0%", "-0.0%") else text
