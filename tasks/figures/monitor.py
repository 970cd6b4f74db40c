"""What ``notebooks/monitor.ipynb`` shows: predictions against clicks, labels that are open, drift."""

from collections.abc import Sequence
from datetime import datetime

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from tasks.figures.style import ACCENT, INK, SOFT, dates, empty, percent, short
from tasks.monitoring.record import MonitorRecord, Quality

_N_FIELDS, _N_PARTS = 15, 20


def predicted_and_observed(record: MonitorRecord) -> Figure:
    """Draw the click rate of each mature window with its interval, and what was predicted."""
    title = "Were as many clicked as predicted?"
    windows = record.parts("window")
    if not windows:
        return empty(title, "no window's labels are final yet")
    moments = _moments([one.name for one in windows])
    ctr = _numbers([one.ctr for one in windows])
    low = np.maximum(_numbers([one.ctr_low for one in windows]), 0)
    high = _numbers([one.ctr_high for one in windows])
    figure, axes = plt.subplots()
    axes.fill_between(moments, low, high, color=SOFT, alpha=0.5, label="clicked, 95% interval")
    axes.plot(moments, ctr, color=INK, linewidth=1.2, label="clicked")
    predicted = _numbers([one.mean_p_click for one in windows])
    axes.plot(moments, predicted, color=ACCENT, linestyle="--", linewidth=1.4, label="predicted")
    axes.set(title=title, xlabel="time of the exposure (UTC)", ylabel="click rate (%)")
    percent(axes.yaxis)
    axes.legend(ncols=3, fontsize=8)
    dates(axes)
    return figure


def calibration(parts: Sequence[Quality], *, title: str, limits: Sequence[float]) -> Figure:
    """Draw the calibration ratio of parts with its interval, the largest first, and the limits as lines."""
    shown = sorted(parts, key=lambda one: -one.n_exposures)[:_N_PARTS]
    shown = [one for one in shown if one.calibration_ratio is not None]
    if not shown:
        return empty(title, "no part has clicks whose labels are final")
    figure, axes = plt.subplots(figsize=(8, 0.3 * len(shown) + 1.5))
    y = np.arange(len(shown))[::-1]
    value = _numbers([one.calibration_ratio for one in shown])
    low = _numbers([one.calibration_ratio_low for one in shown])
    high = np.minimum(_numbers([one.calibration_ratio_high for one in shown]), 10)
    reach = [value - low, np.maximum(high - value, 0)]
    axes.errorbar(value, y, xerr=reach, fmt="o", color=INK, ecolor=SOFT, elinewidth=4)
    axes.axvline(1, color="black", linewidth=0.8)
    for limit in limits:
        axes.axvline(limit, color=ACCENT, linestyle="--", linewidth=1)
    axes.set_xscale("log")
    ticks = [0.25, 0.5, 0.8, 0.9, 1, 1.1, 1.25, 2, 4]
    ends = min(low.min(), limits[0]) * 0.97, max(high.max(), limits[-1]) * 1.03
    kept = [tick for tick in ticks if ends[0] <= tick <= ends[1]]
    axes.set_xticks(kept, [f"{tick:g}" for tick in kept])
    axes.minorticks_off()
    axes.set_xlim(*ends)
    axes.set_yticks(y, [f"{short(one.name)} ({one.n_exposures:,})" for one in shown])
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set(title=title, xlabel="mean prediction over click rate (1 is right; dashed: limits)")
    return figure


def open_labels(record: MonitorRecord) -> Figure:
    """Draw the clicks of each window whose labels are open: those that arrived, and those that are still expected."""
    title = "How many clicks are still to come?"
    if not record.open_windows:
        return empty(title, "all labels are final")
    moments = _moments([one.window_utc for one in record.open_windows])
    here = _numbers([one.n_clicks for one in record.open_windows])
    still = _numbers([one.n_open_clicks for one in record.open_windows])
    figure, axes = plt.subplots(figsize=(8, 2.8))
    width = record.window_hours / 24 * 0.8
    axes.bar(moments, here, width=width, align="edge", color=INK, label="arrived")
    axes.bar(
        moments, still, width=width, align="edge", bottom=here, color="white", edgecolor=ACCENT,
        hatch="///", label="expected",
    )  # fmt: skip
    axes.set(title=title, xlabel="time of the exposure (UTC)", ylabel="clicks")
    axes.legend(fontsize=8)
    dates(axes)
    return figure


def drift(record: MonitorRecord, *, max_psi: float) -> Figure:
    """Draw each field's PSI on the last day against what is usual and what is large, the largest first."""
    title = "Which inputs differ from the training rows?"
    fields = [one for one in record.drift if one.psi_usual is not None]
    if not fields:
        return empty(title, "no exposures")
    shown = sorted(fields, key=lambda one: -one.psi)[:_N_FIELDS]
    figure, axes = plt.subplots(figsize=(8, 0.3 * len(shown) + 1.5))
    y = np.arange(len(shown))[::-1]
    usual = np.maximum(_numbers([one.psi_usual for one in shown]), 0)
    axes.barh(y, [one.psi for one in shown], color=INK, height=0.5, label="last day")
    axes.plot(
        usual, y, "|", color=SOFT, markersize=14, markeredgewidth=3, label="usual in training"
    )
    axes.plot(
        usual + max_psi, y, "|", color=ACCENT, markersize=14, markeredgewidth=2, label="large"
    )
    axes.set_yticks(y, [short(one.field) for one in shown])
    axes.set(title=title, xlabel="population stability index (nats)")
    axes.legend(fontsize=8)
    return figure


def drift_over_time(record: MonitorRecord) -> Figure:
    """Draw the PSI of each field by window, darker where it is larger."""
    title = "Since when do they differ?"
    names = [one.field for one in sorted(record.drift, key=lambda one: -one.psi)]
    names = [name for name in names if name in record.psi_by_window][:_N_FIELDS]
    table = np.array([_numbers(record.psi_by_window[name]) for name in names])
    if not table.size or np.isnan(table).all():
        return empty(title, "no window has enough exposures")
    used = np.flatnonzero(~np.isnan(table).all(axis=0))
    table = table[:, used[0] :]
    figure, axes = plt.subplots(figsize=(8, 0.28 * len(names) + 1.6))
    first = float(_moments([record.start_utc])[0])
    size = record.window_hours / 24
    ends = (first + used[0] * size, first + (used[0] + table.shape[1]) * size)
    image = axes.imshow(
        table, aspect="auto", cmap="Greys", vmin=0, vmax=max(0.5, float(np.nanquantile(table, 0.98))),
        extent=(*ends, len(names) - 0.5, -0.5), interpolation="nearest",
    )  # fmt: skip
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    dates(axes)
    axes.grid(False)
    axes.set(title=title, xlabel="time of the exposure (UTC)")
    figure.colorbar(image, label="PSI (nats)")
    return figure


def answer(record: MonitorRecord) -> str:
    """Return the answer of the notebook, Markdown."""
    lines = [f"- {line}" for line in record.summary()]
    if record.delay is not None:
        lines.append(
            f"- a click takes {record.delay.mean_s / 60:.1f} minutes on average; labels are final after "
            f"{record.delay.mature_age_s / 3600:.1f} hours, {record.delay.n_open_clicks:,.0f} clicks are still expected"
        )
    return "\n".join(lines)


def _moments(texts: Sequence[str]) -> np.ndarray:
    """Return times as Matplotlib's numbers, days since 1970."""
    return np.array([datetime.fromisoformat(text).timestamp() / 86400 for text in texts])


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if one is None else one for one in values], dtype=np.float64)
