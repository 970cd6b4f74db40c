"""What ``notebooks/ab_test.ipynb`` shows: units by variant, the lift day by day and by slice."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tasks.figures.style import ACCENT, INK, SOFT, dates, empty, percent, short
from tasks.monitoring.ab_test.record import LiftRecord, Readout
from tasks.monitoring.ab_test.verdict import UNREADABLE, signed

_WORDS = {"ctr": "clicks per impression", "log_loss": "log loss per impression"}


def units_by_day(readout: Readout) -> Figure:
    """Draw each treatment's share of the new units of each day, and the share that it should have."""
    title = "Did each variant get its share of the units?"
    days = [one for one in readout.sample_ratio if one.day != "all"]
    if not days:
        return empty(title, "no units")
    figure, axes = plt.subplots(figsize=(8, 3))
    for number, name in enumerate(readout.treatments):
        found = [one for one in days if one.treatment == name]
        n = np.array([one.n_control + one.n_treatment for one in found])
        expected = found[0].expected_share
        share = np.array([one.n_treatment for one in found]) / n
        reach = 3 * np.sqrt(expected * (1 - expected) / n)
        moments = np.array([one.day for one in found], "M8[D]")
        label = f"{short(name)}, against {short(readout.control)} (bars: 3 standard errors)"
        axes.errorbar(moments, share, yerr=reach, fmt="osD"[number % 3], color=INK, ecolor=SOFT, elinewidth=4, label=label)  # fmt: skip
        wrong = [place for place, one in enumerate(found) if one.is_mismatch]
        axes.plot(moments[wrong], share[wrong], "X", color=ACCENT, markersize=11, label="mismatch" if wrong else None)  # fmt: skip
        axes.axhline(expected, color="black", linewidth=0.8)
    axes.set(title=title, ylabel="share of the new units (%)", xlabel="day (UTC)")
    percent(axes.yaxis)
    axes.legend(fontsize=8)
    dates(axes)
    return figure


def lift_by_day(readout: Readout, treatment: str, metric: str) -> Figure:
    """Draw the lift at each look with the interval that holds at all of them, and the one of a single look."""
    title = f"{short(treatment)} against {short(readout.control)}: {_WORDS[metric]}"
    looks = [one for one in readout.looks if (one.treatment, one.metric) == (treatment, metric)]
    known = [one for one in looks if one.lift is not None]
    if not known:
        return empty(title, looks[-1].why)
    figure, axes = plt.subplots()
    moments = np.array([one.day for one in known], "M8[D]")
    low, high = _numbers(known, "low"), _numbers(known, "high")
    axes.fill_between(
        moments, low, high, color=SOFT, alpha=0.5, label="holds at every look together"
    )
    for name in ("single_low", "single_high"):
        label = "would hold at one planned look" if name == "single_low" else None
        axes.plot(moments, _numbers(known, name), color=INK, linewidth=0.9, linestyle=":", label=label)  # fmt: skip
    axes.plot(moments, _numbers(known, "lift"), color=INK, marker="o", markersize=3.5, label="lift")
    axes.axhline(0, color=ACCENT, linewidth=1.2)
    last = known[-1]
    axes.annotate(f"  {signed(last.lift or 0)}", (moments[-1], last.lift), fontsize=9, va="center")
    middle = np.concatenate([low[len(low) // 3 :], high[len(high) // 3 :], [0.0]])
    edge = 1.6 * np.abs(middle).max()  # the first looks are wide
    axes.set_ylim(-edge, edge)
    better = "lower is better" if metric == "log_loss" else "higher is better"
    axes.set(title=title, xlabel="end of day (UTC)", ylabel=f"difference (%; {better})")
    axes.yaxis.set_major_formatter(FuncFormatter(_percent_tick))
    axes.legend(ncols=3, fontsize=8, loc="upper right")
    dates(axes)
    return figure


def lift_by_slice(readout: Readout, treatment: str) -> Figure:
    """Draw the lift in clicks of each slice; intervals of all slices hold together."""
    title = f"{short(treatment)} against {short(readout.control)}, by slice"
    slices = [one for one in readout.slices if one.treatment == treatment and one.lift is not None]
    if not slices:
        return empty(title, "no slice has enough units and clicks")
    figure, axes = plt.subplots(figsize=(8, 0.36 * len(slices) + 1.5))
    y = np.arange(len(slices))[::-1]
    value = _numbers(slices, "lift")
    reach = np.array([value - _numbers(slices, "low"), _numbers(slices, "high") - value])
    for is_sure, color, marker, label in ((False, INK, "o", "may be chance"), (True, ACCENT, "D", "a difference")):  # fmt: skip
        rows = np.array([one.is_sure == is_sure for one in slices])
        if rows.any():
            axes.errorbar(value[rows], y[rows], xerr=reach[:, rows], fmt=marker, color=color, ecolor=SOFT, elinewidth=4, label=label)  # fmt: skip
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(y, [short(one.slice) for one in slices])
    axes.set_ylim(-0.6, len(slices) - 0.4)
    ends = np.abs(np.concatenate([value - reach[0], value + reach[1]]))
    edge = max(2.5 * np.median(ends), 1.3 * np.abs(value).max())
    edge = min(edge, 1.05 * ends.max())
    axes.set_xlim(-edge, edge)
    axes.xaxis.set_major_formatter(FuncFormatter(_percent_tick))
    axes.set(title=title, xlabel="difference in clicks per impression (%), all intervals together")
    axes.legend(fontsize=8)
    return figure


def arm_table(readout: Readout) -> pd.DataFrame:
    """Return a row per variant."""
    rows = [
        {
            "variant": one.variant,
            "units": f"{one.n_units:,}",
            "impressions": f"{one.n_impressions:,}",
            "clicks": f"{one.n_clicks:,}",
            "clicks per impression": _text(one.ctr, "{:.3%}"),
            "log loss": _text(one.log_loss, "{:.5f}"),
            "normalized entropy": _text(one.normalized_entropy, "{:.4f}"),
        }
        for one in readout.arms
    ]
    return pd.DataFrame(rows).set_index("variant")


def power_table(readout: Readout) -> pd.DataFrame:
    """Return what can be seen, a row per treatment and metric."""
    rows = [
        {
            "variant": one.treatment,
            "difference in": _WORDS[one.metric],
            "wanted": f"{one.wanted_lift:.2%}",
            "seen by now, at every look": _text(one.smallest_lift, "{:.2%}"),
            "seen by now, at one look": _text(one.single_smallest_lift, "{:.2%}"),
            "days until the wanted one": _text(one.days_left, "{:,}"),
        }
        for one in readout.powers
    ]
    return pd.DataFrame(rows).set_index("variant")


def answer(readout: Readout) -> str:
    """Return the answer of the notebook, Markdown: the verdict, log loss, what to know besides."""
    lines = [f"**{readout.verdict}**", ""]
    if UNREADABLE not in readout.outcome.values():
        for name in readout.treatments:
            lines.append(f"- {_loss_sentence(readout, name)}")
            sure = [one for one in readout.slices if one.treatment == name and one.is_sure]
            lines += [
                f"- In {short(one.slice)}, {short(name)}: {signed(one.lift or 0)} clicks per impression."
                for one in sure
            ]
    lines += [f"- {note[0].upper()}{note[1:]}." for note in readout.notes]
    return "\n".join(lines)


def _loss_sentence(readout: Readout, name: str) -> str:
    loss = readout.last("log_loss", name)
    if loss.lift is None or loss.low is None or loss.high is None:
        return f"Log loss of {name}: cannot tell, as {loss.why}."
    found = f"{signed(loss.lift)} ({signed(loss.low)} to {signed(loss.high)}, valid at every look)"
    start = "Log loss, which rises with the click rate by itself"
    sure = "differs" if loss.is_sure else "cannot be told apart yet"
    entropy = {one.variant: _text(one.normalized_entropy, "{:.4f}") for one in readout.arms}
    return (
        f"{start}, {sure}: {found} in {name}. Measured by what the click rate alone would give (normalized entropy, lower is "
        f"better): {entropy[name]} against {entropy[readout.control]} of {readout.control}."
    )


def _percent_tick(value: float, _: int) -> str:
    return f"{100 * value:+.3g}%" if abs(value) > 1e-9 else "0%"


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _numbers(looks: Sequence[LiftRecord], name: str) -> np.ndarray:
    return np.array([getattr(one, name) for one in looks], dtype=float)
