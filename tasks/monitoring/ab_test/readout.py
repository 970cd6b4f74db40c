"""The read-out of an experiment: units checked first, then lifts at every look, slices, power, the verdict."""

from collections.abc import Sequence

import numpy as np

from tasks.errors import DataCheckError
from tasks.evaluation.evidence import holm
from tasks.monitoring.ab_test.covariate import arms_with_covariate
from tasks.monitoring.ab_test.impressions import Impressions
from tasks.monitoring.ab_test.lift import METRICS, lift_of, metric_of
from tasks.monitoring.ab_test.plan import NONE, Plan
from tasks.monitoring.ab_test.power import power_of
from tasks.monitoring.ab_test.record import ArmRecord, LiftRecord, RatioRecord, Readout
from tasks.monitoring.ab_test.sample_ratio import check_ratio
from tasks.monitoring.ab_test.units import Arm, arm_of, totals_by_unit
from tasks.monitoring.ab_test.verdict import UNREADABLE, unreadable, verdict_of

_TOP_VALUES = 5  # of a field that are slices
_FEWEST_IN_SLICE = 0.02  # share of the impressions
_SLICE_SCALE = 10.0  # a slice has fewer units, so that only larger lifts can be seen
_MOST_TWICE = 0.01  # share of units with answers of several variants


def read_out(rows: Impressions, plan: Plan, *, experiment: str = "") -> Readout:
    """Return what an experiment says.

    Parameters
    ----------
    rows
        All impressions of the log; those of other experiments serve as the past only.
    plan
        What was fixed before.
    experiment
        Digest of the experiment, as exposures hold it; by default the one that answered last.

    Raises
    ------
    DataCheckError
        If the log has no impression of it.
    """
    digest = experiment or rows.experiment.names[rows.experiment.codes[np.argmax(rows.day)]]
    during = rows.experiment.is_(digest)
    if not during.any():
        known = ", ".join(rows.experiment.names)
        raise DataCheckError(f"no impression of experiment {digest!r}; the log has {known}")
    notes = _notes(rows, during, plan)
    found, n_twice = _of_one_variant(rows.take(during), plan)
    days = np.arange(rows.day[during].min(), rows.day[during].max() + 1)
    if not len(found.day):
        listed = ", ".join(rows.take(during).variant.names)
        raise DataCheckError(
            f"no impression of {plan.control} or {', '.join(plan.treatments)}; the log has {listed or 'no variants'}"
        )
    names = [plan.control, *plan.treatments]
    covariate, arms = arms_with_covariate(rows, found, int(days[0]), plan, notes)
    ratios = _ratios(arms, days, plan)
    looks = [one for name in plan.treatments for one in _looks(arms, name, days, plan, covariate)]
    readout = Readout(
        experiment=digest,
        first_day=str(np.datetime64(int(days[0]), "D")),
        last_day=str(np.datetime64(int(days[-1]), "D")),
        control=plan.control,
        alpha=plan.alpha,
        power=plan.power,
        covariate=covariate,
        arms=[_arm_record(name, arms[name]) for name in names],
        sample_ratio=ratios,
        looks=looks,
        slices=_slices(found, plan),
        powers=[],
        outcome={},
        verdict="",
        notes=notes,
        counts=rows.counts | {"units_of_several_variants": n_twice},
    )
    _conclude(
        readout, arms, days, plan, n_twice / max(len(np.unique(found.unit.codes)) + n_twice, 1)
    )
    return readout


# ---- which rows


def _notes(rows: Impressions, during: np.ndarray, plan: Plan) -> list[str]:
    found = rows.take(during)
    notes = []
    busy = np.unique(found.day)
    empty = np.setdiff1d(np.arange(busy[0], busy[-1] + 1), busy)
    if len(empty):
        first = np.datetime64(int(empty[0]), "D")
        notes.append(f"days without an impression: {len(empty)}, the first {first}")
    counts = np.bincount(found.variant.codes, minlength=len(found.variant.names))
    for name, n in zip(found.variant.names, counts.tolist(), strict=True):
        if n and not plan.weights.get(name):
            notes.append(
                f"{n:,} impressions of {name or 'no variant'}, which has no weight in the plan, are left out"
            )
    for name, one in found.fields.items():
        if not any(one.names):
            notes.append(f"no impression has a value of {name}, so it has no slices")
    n_others = int((~during).sum())
    if n_others:
        notes.append(f"{n_others:,} impressions of other experiments are not mixed in")
    return notes


def _of_one_variant(rows: Impressions, plan: Plan) -> tuple[Impressions, int]:
    """Return the rows of units that only one of the plan's variants answered, and how many other units there are."""
    taking_part = [
        number for number, name in enumerate(rows.variant.names) if plan.weights.get(name)
    ]
    rows = rows.take(np.isin(rows.variant.codes, taking_part))
    n = len(rows.variant.names)
    pairs = np.unique(rows.unit.codes * n + rows.variant.codes)
    twice = np.bincount(pairs // n, minlength=len(rows.unit.names)) > 1
    return rows.take(~twice[rows.unit.codes]), int(twice.sum())


# ---- what is found


def _ratios(arms: dict[str, Arm], days: np.ndarray, plan: Plan) -> list[RatioRecord]:
    control, weight = arms[plan.control].first_days(), plan.weights[plan.control]
    out = []
    for name in plan.treatments:
        share = plan.weights[name] / (plan.weights[name] + weight)
        out += check_ratio(
            control,
            arms[name].first_days(),
            days,
            share=share,
            name=name,
            n_treatments=len(plan.treatments),
        )
    return out


def _looks(
    arms: dict[str, Arm], name: str, days: np.ndarray, plan: Plan, covariate: str
) -> list[LiftRecord]:
    out = []
    pairs = zip(arms[plan.control].looks(days), arms[name].looks(days), strict=True)
    for day, (control, treatment) in zip(days.tolist(), pairs, strict=True):
        for metric in METRICS:
            out.append(
                lift_of(
                    control,
                    treatment,
                    metric_of(metric, plan),
                    with_covariate=covariate != NONE,
                    day=str(np.datetime64(day, "D")),
                    alpha=plan.alpha_each,
                    names=(plan.control, name),
                )
            )
    return out


def _arm_record(name: str, arm: Arm) -> ArmRecord:
    from scipy.special import xlog1py, xlogy

    clicks, n, loss = arm.totals[:3].tolist() if len(arm.day) else (0.0, 0.0, 0.0)
    if not n:
        return ArmRecord(name, 0, 0, 0)
    ctr = clicks / n
    entropy = -float(xlogy(ctr, ctr) + xlog1py(1 - ctr, -ctr))
    normalized = loss / n / entropy if entropy > 0 else None
    return ArmRecord(name, arm.n_units, int(n), int(clicks), ctr, loss / n, normalized)


def _slices(found: Impressions, plan: Plan) -> list[LiftRecord]:
    """Return the lift of each slice; of all that are sure, one is not there with chance `alpha` at most (Holm)."""
    known = [name for name, one in found.fields.items() if any(one.names)]
    parts = [(name, value) for name in known for value in _top_values(found, name)]
    out = []
    for name, value in parts:
        part = found.take(found.fields[name].codes == value)
        label = f"{name}={found.fields[name].names[value] or '(missing)'}"
        control = totals_by_unit(arm_of(part, plan.control))
        for treatment in plan.treatments:
            sums = totals_by_unit(arm_of(part, treatment))
            out.append(
                lift_of(
                    control,
                    sums,
                    metric_of("ctr", plan, times=_SLICE_SCALE),
                    slice_name=label,
                    alpha=plan.alpha_each / len(parts),
                    names=(plan.control, treatment),
                )
            )
    sure = holm([np.nan if one.p_value is None else one.p_value for one in out], plan.alpha)
    for one, is_sure in zip(out, sure.tolist(), strict=True):
        one.is_sure = is_sure
    return out


def _top_values(found: Impressions, name: str) -> Sequence[int]:
    """Return the most frequent values of a field that have enough impressions."""
    counts = np.bincount(found.fields[name].codes, minlength=len(found.fields[name].names))
    top = np.argsort(-counts, kind="stable")[:_TOP_VALUES]
    return [int(value) for value in top if counts[value] >= _FEWEST_IN_SLICE * counts.sum()]


def _conclude(
    readout: Readout, arms: dict[str, Arm], days: np.ndarray, plan: Plan, share_twice: float
) -> None:
    """Add power, outcome and verdict."""
    sentences = []
    for name in plan.treatments:
        for metric in METRICS:
            looks = [one for one in readout.looks if (one.metric, one.treatment) == (metric, name)]
            totals = (totals_by_unit(arms[plan.control]), totals_by_unit(arms[name]))
            readout.powers.append(
                power_of(
                    looks,
                    *totals,
                    metric_of(metric, plan),
                    plan,
                    with_covariate=readout.covariate != NONE,
                )
            )
        word, sentence = verdict_of(readout.last("ctr", name), readout.powers[-2], plan)
        readout.outcome[name] = word
        sentences.append(sentence)
    stop = unreadable(readout.sample_ratio, plan.control)
    if not stop and share_twice > _MOST_TWICE:
        stop = (
            f"Do not read this: {share_twice:.1%} of the units have answers of several variants, so that a unit is not "
            "assigned once; find out why, then start again."
        )
    if stop:
        readout.outcome = dict.fromkeys(readout.outcome, UNREADABLE)
    readout.verdict = stop or " ".join(sentences)
