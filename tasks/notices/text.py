"""A day, or a failure, in words: a title of one line and a text that every receiver can show."""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tasks.notices.facts import Decision, Learned, Served, Told, Variant

if TYPE_CHECKING:
    from tasks.pipeline.executor import Failure

MAX_TITLE = 100  # characters: the subject of SNS
_N_FIELDS, _N_ALERTS, _MAX_LINE = 8, 20, 400
_DECIDED = {"promoted": "promotion", "forced": "promotion", "refused": "refusal"}


class Notice(NamedTuple):
    """What is sent: ``events`` says why."""

    title: str
    text: str
    events: frozenset[str]


def day_notice(told: Told, last: Told, *, cost: str = "") -> Notice:
    """Return the notice of a day.

    Parameters
    ----------
    told
        The facts, of :func:`tasks.notices.facts.renewed`.
    last
        What was told before: what every receiver has got already is no event again.
    cost
        A line about the cost of the run.
    """
    known = last if last.delivered else Told()
    events = {"day"}
    if told.learned and (
        known.learned is None or told.learned.decisions != known.learned.decisions
    ):
        events |= {_DECIDED[one.decision] for one in told.learned.decisions if one.decision in _DECIDED}  # fmt: skip
    opened, closed = _alert_changes(told.served, last.served if last.delivered else None)
    if opened or closed:
        events.add("alert")
    parts = [_headline(told)]
    if told.learned:
        parts += [*_learned_lines(told.learned, told.learned_before)]
    if told.served:
        parts += [*_served_lines(told.served, told.served_before, closed)]
    if cost:
        parts += ["", cost]
    return Notice(one_line(parts[0], MAX_TITLE), _joined(parts[1:]), frozenset(events))


def failure_notice(failures: "Sequence[Failure]", *, name: str, resume: str) -> Notice:
    """Return the notice of a run that failed: task, cell of the notebook, reason, log, and how to resume."""
    tasks = list(dict.fromkeys(one.task for one in failures))
    lines = []
    for one in failures:
        cell = f", cell In [{one.cell}]" if one.cell else ""
        lines.append(f"{one.task}{cell}: {one.line}")
        lines += [f"  log: {one.log}"] if one.log else []
    lines += ["", f"Resume with: {resume}"]
    title = one_line(f"{name}: {', '.join(tasks)} failed", MAX_TITLE)
    return Notice(title, _joined(lines), frozenset({"failure"}))


def one_line(text: str, n_chars: int) -> str:
    """Return a text on one line, cut where it is long.

    Examples
    --------
    >>> one_line("a" + chr(10) + "b", 9), one_line("abcdef", 4)
    ('a b', 'a...')
    """
    flat = re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in text)).strip()
    return flat if len(flat) <= n_chars else f"{flat[: n_chars - 3]}..."


def _joined(lines: Sequence[str]) -> str:
    kept = [line[:_MAX_LINE] for line in lines]
    return "\n".join(kept).strip("\n") + "\n"


def _headline(told: Told) -> str:
    said = []
    if told.learned:
        chosen = [one for one in told.learned.decisions if one.decision in ("promoted", "forced")]
        said += [f"{one.model} {one.decision}" for one in chosen] or ["champion stays"]
        best = next(iter(told.learned.metrics), None)
        if best and (loss := told.learned.metrics[best]["log_loss"]) is not None:
            said.append(f"log loss {loss:.4f}{_since(loss, _before(told.learned_before, best), 4)}")
    n_alerts = len(told.served.alerts) if told.served else 0
    said += [f"{n_alerts} open alert{'s' if n_alerts > 1 else ''}"] if n_alerts else []
    return f"{told.name}: {', '.join(said) or 'nothing to tell yet'}"


def _before(learned: Learned | None, model: str, metric: str = "log_loss") -> float | None:
    return learned.metrics.get(model, {}).get(metric) if learned else None


def _since(value: float | None, before: float | None, digits: int) -> str:
    if value is None or before is None:
        return ""
    return f" ({value - before:+.{digits}f})"


def _shown(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _learned_lines(now: Learned, before: Learned | None) -> Iterator[str]:
    since = "; in brackets: against the day before, on its own test rows" if before else ""
    yield f"Models on {now.n_test_rows:,} test rows of {now.source}{since}"
    for model, metrics in now.metrics.items():
        shown = [
            f"{label} {_shown(metrics[key], digits)}{_since(metrics[key], _before(before, model, key), digits)}"
            for key, label, digits in (
                ("log_loss", "log loss", 4),
                ("normalized_entropy", "normalized entropy", 4),
                ("roc_auc", "AUC", 4),
                ("calibration_ratio", "calibration", 3),
            )
        ]
        yield f"  {model}: {', '.join(shown)}"
    yield ""
    yield "Decisions"
    yield from (f"  {_decision(one)}" for one in now.decisions)
    yield f"  champion: {now.champion}"
    yield from (f"  note: {note}" for note in now.notes)
    if now.importance:
        yield ""
        yield f"Fields of {now.importance_of}, by the log loss that each saves (nats)"
        old = dict(before.importance) if before else {}
        for field, value in now.importance[:_N_FIELDS]:
            yield f"  {field} {value:.4f}{_since(value, old.get(field), 4)}"


def _decision(one: Decision) -> str:
    version = f", version {one.version}" if one.version else ""
    reasons = f": {'; '.join(one.reasons)}" if one.reasons else ""
    return f"{one.model}: {one.decision}{version}{reasons}"


def _served_lines(now: Served, before: Served | None, closed: Sequence[str]) -> Iterator[str]:
    yield ""
    yield f"Served, {now.start_utc} to {now.now_utc}"
    old = {one.name: one for one in before.variants} if before else {}
    for variant in now.variants:
        yield f"  {_variant(variant, old.get(variant.name))}"
    yield from (f"  note: {note}" for note in now.notes)
    if now.drift:
        yield ""
        yield "Drift on the last day: PSI (usual in training)"
        for field, psi, usual in now.drift[:_N_FIELDS]:
            yield f"  {field} {psi:.3f} ({_shown(usual, 3)})"
    yield ""
    yield f"Open alerts: {len(now.alerts) or 'none'}"
    for name, sentence in list(now.alerts.items())[:_N_ALERTS]:
        yield f"  {name}: {sentence}"
    if len(now.alerts) > _N_ALERTS:
        yield f"  and {len(now.alerts) - _N_ALERTS} more"
    yield from (f"  closed: {name}" for name in closed[:_N_ALERTS])


def _variant(now: Variant, before: Variant | None) -> str:
    if now.ctr is None or now.calibration_ratio is None:
        return f"{now.name}: no clicks among {now.n_exposures:,} exposures with final labels"
    ratio = _since(now.calibration_ratio, before.calibration_ratio if before else None, 3)
    loss = _since(now.log_loss, before.log_loss if before else None, 4)
    return (
        f"{now.name}: {now.n_exposures:,} exposures with final labels, {now.ctr:.2%} clicked, predicted "
        f"{now.calibration_ratio:.3f}{ratio} times that ({_shown(now.low, 3)} to {_shown(now.high, 3)}), "
        f"log loss {_shown(now.log_loss)}{loss}"
    )


def _alert_changes(now: Served | None, before: Served | None) -> tuple[list[str], list[str]]:
    """Return the alerts that opened, and those that closed."""
    here, there = (set(one.alerts) if one else set() for one in (now, before))
    return sorted(here - there), sorted(there - here)
