"""What ``notebooks/evaluate.ipynb`` shows: models against each other, and who wins."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, StrMethodFormatter

from tasks.evaluation.candidates import CHAMPION
from tasks.evaluation.comparison import Comparison
from tasks.evaluation.evidence import ratio_interval, slice_evidence
from tasks.evaluation.gates import Gates
from tasks.figures.style import ACCENT, INK, SOFT, empty, short

_MARKERS = ("o", "s", "^", "D", "v", "P")
_LINES = ("-", "--", ":", "-.")


def calibration(curves: Mapping[str, pd.DataFrame], *, title: str) -> Figure:
    """Draw observed click rate against mean prediction, one line per model, both on log axes."""
    figure, axes = plt.subplots(figsize=(5.2, 4.4))
    for number, (name, curve) in enumerate(curves.items()):
        shown = curve[curve["y_mean"] > 0]
        axes.plot(
            shown["p_mean"], shown["y_mean"], marker=_MARKERS[number % 6], linestyle=_LINES[number % 4],
            color=(INK, ACCENT, SOFT)[number % 3], markersize=5, label=name,
        )  # fmt: skip
    shown = [
        curve["p_mean"][(curve["y_mean"] > 0) & (curve["p_mean"] > 0)] for curve in curves.values()
    ]
    means = np.concatenate([np.empty(0), *shown])  # a log axis shows no other
    ends = [means.min(), means.max()] if len(means) else [0.01, 1.0]
    steps = (1, 2, 5) if ends[1] < 100 * ends[0] else (1, 3)
    axes.plot(ends, ends, color="black", linewidth=0.8, linestyle=":", label="perfect")
    axes.set(
        title=title,
        xlabel="mean predicted click probability (%)",
        ylabel="observed click rate (%)",
        xscale="log",
        yscale="log",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([k * 10.0**-n for n in range(7) for k in steps]))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
    axes.legend(fontsize=8)
    return figure


def compare(
    intervals: pd.DataFrame,
    *,
    title: str,
    label: str,
    reference: float | None = None,
    reference_label: str = "",
) -> Figure:
    """Draw one dot with its interval per model; `reference` is drawn as a line to compare with."""
    figure, axes = plt.subplots(figsize=(7, 0.4 * len(intervals) + 1.3))
    y = np.arange(len(intervals))[::-1]
    reach = [intervals["value"] - intervals["low"], intervals["high"] - intervals["value"]]
    axes.errorbar(intervals["value"], y, xerr=reach, fmt="o", color=INK, ecolor=SOFT, elinewidth=4)
    for row, value in zip(y, intervals["value"], strict=True):
        axes.annotate(
            f"{value:.4f}",
            (value, row),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    if reference is not None:
        axes.axvline(reference, color=ACCENT, linestyle="--", linewidth=1)
        axes.text(reference, -0.5, f"  {reference_label} {reference:.4f}", color=ACCENT, fontsize=8)
    axes.set_yticks(y, intervals.index)
    axes.set_ylim(-0.6, len(intervals) - 0.2)
    axes.set(title=title, xlabel=label)
    return figure


def slice_ratios(
    table: pd.DataFrame, *, title: str, gates: Gates, overall: float, n_shown: int = 60
) -> Figure:
    """Draw the calibration ratio of each slice of one model, with its interval, against the bounds of the gates.

    Beyond `n_shown` slices those with the fewest impressions are left out; `overall` is the model's ratio.
    """
    if table.empty:
        return empty(title, "the schema declares no slices")
    _, refused = slice_evidence(table.to_dict("records"), overall, gates)
    table = table.assign(refused=refused).dropna(subset=["calibration_ratio"])
    table = table[table.index.isin(table["n_impressions"].nlargest(n_shown).index)]
    keys = ["n_clicks", "n_impressions", "n_expected"]
    spans = [ratio_interval(*row) for row in table[keys].itertuples(index=False)]
    low, high = np.array(spans, dtype=float).reshape(-1, 2).T
    figure, axes = plt.subplots(figsize=(8, 0.26 * len(table) + 1.6))
    y = np.arange(len(table))[::-1]
    ratio, out = table["calibration_ratio"].to_numpy(float), table["refused"].to_numpy(bool)
    bounds = np.array([gates.bounds_of(part) for part in table.to_dict("records")]).reshape(-1, 2)
    wide = bounds[:, 1] - bounds[:, 0]
    axes.barh(y, wide, left=bounds[:, 0], height=1, color="#f3f4f6", label="allowed by the gates")
    axes.axvline(1, color="black", linewidth=0.8, linestyle=":")
    axes.errorbar(
        ratio, y, xerr=[ratio - low, np.minimum(high, 20) - ratio], fmt="o", color=INK, ecolor=SOFT,
        elinewidth=3, label="calibration ratio, 95% interval",
    )  # fmt: skip
    axes.plot(ratio[out], y[out], "D", color=ACCENT, markersize=8, label="refused: not by chance")
    names = [
        short(f"{one} = {value}", 36)
        for one, value in zip(table["slice"], table["value"], strict=True)
    ]
    clicks = table["n_clicks"]
    axes.set_yticks(y, [f"{a}  ({n:,.0f} clicks)" for a, n in zip(names, clicks, strict=True)])
    axes.set_xscale("log")
    reach = [*ratio, *bounds.ravel()]
    axes.set_xlim(0.8 * max(min(reach), 0.05), 1.25 * min(max(reach), 20))
    ticks = [0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 4, 10]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(title=title, xlabel="mean prediction / click rate")
    figure.legend(fontsize=8, loc="outside lower center", ncols=3)
    return figure


def answer(
    result: Comparison,
    *,
    n_rows: int,
    lead: tuple[float, float] | None,
    champion_lead: tuple[float, float] | None,
    notes: Sequence[str] = (),
) -> str:
    """Return which model wins, by how much and how sure that is, in Markdown.

    `lead` is the 95% interval of the runner-up's log loss minus the winner's, on the same resamples, and
    `champion_lead` that of the champion's; None without one. `notes` are sentences to add.
    """
    if not result.ranking:
        reasons = [f"- {one.model}: {'; '.join(one.reasons)}" for one in result.verdicts]
        return "\n".join(["**No model has predictions to be compared.**", "", *reasons])
    best, metrics = result.ranking[0], result.table.loc[result.ranking[0]]
    lines = [
        f"**{best} has the lowest log loss of {_count(len(result.ranking), 'model')} on {n_rows:,} test rows: "
        f"{metrics['log_loss']:.4f}.** {_verdict(result)}",
        "",
        f"- {_baseline(result, metrics)}",
    ]
    if len(result.ranking) > 1:
        lines.append(
            f"- {_rival(result, f'The runner-up, {result.ranking[1]},', result.ranking[1], lead)}"
        )
    if CHAMPION in result.table.index:
        lines.append(f"- {_rival(result, 'The champion that serves now', CHAMPION, champion_lead)}")
    lines += [f"- {note[0].upper()}{note[1:]}." for note in [result.choice.why, *notes] if note]
    return "\n".join(lines)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"


def _verdict(result: Comparison) -> str:
    verdicts = {verdict.model: verdict for verdict in result.verdicts}
    best = result.ranking[0]
    if verdicts[best].passed:
        return "It passes every gate."
    passed = [name for name in result.ranking if verdicts[name].passed]
    after = f"the best that passes is {passed[0]}" if passed else "no other model passes either"
    return f"The gates refuse it ({'; '.join(verdicts[best].reasons)}); {after}."


def _baseline(result: Comparison, metrics: pd.Series) -> str:
    entropy, loss = metrics["normalized_entropy"], metrics["log_loss"]
    if not np.isfinite(entropy) or entropy <= 0:
        return "The test rows hold one class only, so there is no baseline to compare with."
    base = loss / entropy
    than = f"{1 - entropy:.1%} below it" if entropy < 1 else "no better"
    text = f"Knowing only the click rate gives {base:.4f}: the winner is {than}."
    truth = result.truth_log_loss
    if truth is None or not truth < base:
        return text
    return (
        text
        + f" It closes {(base - loss) / (base - truth):.0%} of the gap to the true probabilities ({truth:.4f})."
    )


def _rival(result: Comparison, who: str, name: str, lead: tuple[float, float] | None) -> str:
    gap = result.table.loc[name, "log_loss"] - result.table.loc[result.ranking[0], "log_loss"]
    if gap == 0:
        return f"{who} has the very same log loss."
    text = f"{who} is {_amount(abs(gap))} {'above' if gap > 0 else 'below'} it"
    if lead is None or not np.isfinite(lead).all():
        return f"{text}."
    low, high = lead
    sure = low > 0 or high < 0
    word = "more than chance" if sure else "it may be chance, these rows cannot tell the two apart"
    return f"{text} (95% interval of the difference {low:+.5f} to {high:+.5f}): {word}."


def _amount(nats: float) -> str:
    return f"{nats:.4f}" if nats >= 0.00005 else f"{nats:.1e}"
