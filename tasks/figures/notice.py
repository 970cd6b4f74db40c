"""The chart of a notice: log loss by model, what each field is worth, and drift, small enough for a chat."""

from collections.abc import Mapping, Sequence
from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.figures.style import ACCENT, INK, SOFT, short, use_style

_N_FIELDS = 8


def day(
    log_losses: Mapping[str, tuple[float | None, float | None]],
    importance: Sequence[tuple[str, float]],
    drift: Sequence[tuple[str, float, float | None]],
    *,
    title: str = "",
) -> Figure:
    """Draw a day; what there is nothing of is left out.

    Parameters
    ----------
    log_losses
        By model: now, and the day before.
    importance
        Fields with the log loss that each saves (nats), largest first.
    drift
        Fields with their PSI (nats) and the usual one, largest first.
    title
        Above all panels.
    """
    use_style()
    known = {name: (now, then) for name, (now, then) in log_losses.items() if now is not None}
    panels = [
        (bool(known), lambda axes: _losses(axes, known)),
        (bool(importance), lambda axes: _importance(axes, importance[:_N_FIELDS])),
        (bool(drift), lambda axes: _drift(axes, drift[:_N_FIELDS])),
    ]
    drawn = [draw for there_is, draw in panels if there_is]
    figure = Figure(figsize=(4.2 * max(1, len(drawn)), 3.2))
    if not drawn:
        figure.text(0.5, 0.5, "nothing to draw yet", ha="center")
        return figure
    for axes, draw in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn, strict=True):
        draw(axes)
    if title:
        figure.suptitle(short(title, 110), fontsize=10, x=0.01, ha="left")
    return figure


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG."""
    found = BytesIO()
    figure.savefig(found, format="png", dpi=110)
    return found.getvalue()


def _losses(axes: Axes, pairs: Mapping[str, tuple[float, float | None]]) -> None:
    y = range(len(pairs) - 1, -1, -1)
    now = [pair[0] for pair in pairs.values()]
    axes.plot(now, y, "o", color=INK, label="now")
    before = [
        (pair[1], at) for pair, at in zip(pairs.values(), y, strict=True) if pair[1] is not None
    ]
    if before:
        axes.plot(*zip(*before, strict=True), "|", color=ACCENT, markersize=14,
                  markeredgewidth=2, label="day before")  # fmt: skip
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=2)
    axes.set_yticks(list(y), [short(name, 24) for name in pairs])
    axes.set_ylim(-0.6, len(pairs) - 0.4)
    axes.margins(x=0.15)
    axes.locator_params(axis="x", nbins=4)
    axes.set(title="How well do the models predict?", xlabel="log loss on test rows (nats)")
    axes.title.set_fontsize(10)


def _importance(axes: Axes, fields: Sequence[tuple[str, float]]) -> None:
    _bars(axes, [name for name, _ in fields], [value for _, value in fields])
    axes.set(title="What is each field worth?", xlabel="log loss that it saves (nats)")
    axes.title.set_fontsize(10)


def _drift(axes: Axes, fields: Sequence[tuple[str, float, float | None]]) -> None:
    _bars(axes, [name for name, _, _ in fields], [psi for _, psi, _ in fields])
    usual = [(one[2], at) for at, one in enumerate(reversed(fields)) if one[2] is not None]
    if usual:
        axes.plot(*zip(*usual, strict=True), "|", color=ACCENT, markersize=12,
                  markeredgewidth=2, label="usual in training")  # fmt: skip
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.25))
    axes.set(title="Which inputs differ?", xlabel="PSI on the last day (nats)")
    axes.title.set_fontsize(10)


def _bars(axes: Axes, names: Sequence[str], values: Sequence[float]) -> None:
    y = range(len(names) - 1, -1, -1)
    axes.barh(list(y), values, color=SOFT, height=0.6)
    axes.set_yticks(list(y), [short(name, 24) for name in names])
    axes.locator_params(axis="x", nbins=4)
