"""What the A/B read-out promises, against a known truth: ``python -m bench.ab_test``.

False verdicts without an effect under daily looks, power where it was computed, lost units found, and what covariates do
to the estimate. Clicks of a unit hang together, and units return.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tasks.monitoring.ab_test.impressions import Impressions
from tasks.monitoring.ab_test.lift import lift_of, log_error, metric_of, ratio_metric
from tasks.monitoring.ab_test.plan import Plan
from tasks.monitoring.ab_test.sample_ratio import check_ratio
from tasks.monitoring.ab_test.sequential import smallest_effect
from tasks.monitoring.ab_test.simulated import (
    CONTROL,
    PAST,
    SHADOW,
    TREATMENT,
    World,
    simulate_experiment,
)
from tasks.monitoring.ab_test.units import Arm, arm_of, moments

PLAN = Plan({CONTROL: 1, TREATMENT: 1}, smallest_lift=0.1, smallest_loss_change=0.05)
WORLDS = {
    "clicks of a unit nearly independent": World(100, 30, concentration=1000.0),
    "clicks of a unit hang together": World(100, 30, concentration=5.0),
    "the same units every day": World(10, 30, concentration=5.0, return_chance=0.8),
    "rare clicks": World(200, 30, ctr=0.02, concentration=20.0),
}


class Looks(NamedTuple):
    """Of one simulated experiment: whether the truth was outside of an interval at some look, and at the last.

    ``by_impression`` and ``single`` are the intervals of one look, as if impressions were independent and by unit;
    ``sequence`` is the confidence sequence.
    """

    by_impression: tuple[bool, bool]
    single: tuple[bool, bool]
    sequence: tuple[bool, bool]


def arms_of(rows: Impressions, **how: object) -> tuple[Arm, Arm]:
    """Return control and treatment of the rows of the experiment."""
    during = rows.take(~rows.experiment.is_(PAST))
    before = rows.take(rows.experiment.is_(PAST)) if how.pop("past", False) else None
    return tuple(arm_of(during, name, before=before, **how) for name in (CONTROL, TREATMENT))


def looks_of(world: World, *, seed: int, metric: str = "ctr") -> Looks | None:
    """Return what daily looks at an experiment say about its true lift; None if there never was an interval."""
    rows = simulate_experiment(world, seed=seed)
    control, treatment = arms_of(rows)
    days = np.unique(rows.day)
    truth = world.lift if metric == "ctr" else 0.0
    found = []
    for one, other in zip(control.looks(days), treatment.looks(days), strict=True):
        lift = lift_of(one, other, metric_of(metric, PLAN), alpha=PLAN.alpha)
        if lift.error is None:
            continue
        clicks = np.array([one[:, 0].sum(), other[:, 0].sum()])
        n = np.array([one[:, 1].sum(), other[:, 1].sum()])
        reach = 1.96 * math.sqrt((1 / clicks - 1 / n).sum())
        gap = abs(math.log((clicks / n)[1] / (clicks / n)[0] / (1 + truth)))
        outside = not lift.single_low <= truth <= lift.single_high
        found.append((gap > reach, outside, not lift.low <= truth <= lift.high))
    if not found:
        return None
    return Looks(*((any(column), column[-1]) for column in zip(*found, strict=True)))


def shares(found: Iterable[Looks | None]) -> np.ndarray:
    """Return the shares of experiments in which each interval missed at some look, and at the last, ``(3, 2)``."""
    return np.mean([one for one in found if one is not None], axis=0)


def share_seen(world: World, *, n_draws: int, seed: int = 0) -> tuple[float, float, float]:
    """Return the lift that should be seen at the last look with the plan's power, and the shares in which it was.

    The lift is computed from one experiment without effect; the shares are those of the last look and of any look.
    """
    rows = simulate_experiment(replace(world, lift=0.0), seed=seed + 10_000_000)
    last = rows.day[-1:] * 0 + rows.day.max()
    pair = [next(arm.looks(last)) for arm in arms_of(rows)]
    error = lift_of(*pair, metric_of("ctr", PLAN), alpha=PLAN.alpha).error
    scale = metric_of("ctr", PLAN).scale
    effect = smallest_effect(error, alpha=PLAN.alpha, power=PLAN.power, scale=scale)
    lift = math.expm1(effect)
    seen = []
    for number in range(n_draws):
        rows = simulate_experiment(replace(world, lift=lift), seed=seed + number)
        days = np.unique(rows.day)
        control, treatment = arms_of(rows)
        pairs = zip(control.looks(days), treatment.looks(days), strict=True)
        found = [lift_of(*pair, metric_of("ctr", PLAN), alpha=PLAN.alpha) for pair in pairs]
        seen.append((found[-1].is_sure, any(one.is_sure for one in found)))
    at_last, at_any = np.mean(seen, axis=0).tolist()
    return lift, at_last, at_any


def ratio_alarms(world: World, *, n_draws: int, seed: int = 0) -> tuple[float, float]:
    """Return the share of experiments with a mismatch at some look, and the mean day of the first."""
    days_of_first = []
    for number in range(n_draws):
        rows = simulate_experiment(world, seed=seed + number)
        control, treatment = (arm.first_days() for arm in arms_of(rows))
        days = np.unique(rows.day)
        for look in range(1, len(days) + 1):
            until = days[look - 1]
            so_far = (control[control <= until], treatment[treatment <= until])
            if any(
                one.is_mismatch for one in check_ratio(*so_far, days[:look], share=0.5, name="")
            ):
                days_of_first.append(look)
                break
    mean = float(np.mean(days_of_first)) if days_of_first else float("nan")
    return len(days_of_first) / n_draws, mean


COVARIATES = ("none", "before", "a model of all variants", "the answering model")


def covariate_errors(
    world: World, covariate: str, *, overprediction: float = 1.1, n_draws: int, seed: int = 0
) -> tuple[float, float]:
    """Return the mean error of the lift with a covariate, in true standard errors of it, and its mean standard error.

    The treatment's own model predicts `overprediction` times as much as the control's.
    """
    gaps, errors = [], []
    for number in range(n_draws):
        rows = simulate_experiment(world, seed=seed + number)
        factor = np.where(rows.variant.is_(TREATMENT), overprediction, 1.0)
        rows = rows._replace(shadow=rows.shadow | {"own": rows.p_click * factor})
        shadow = {COVARIATES[2]: SHADOW, COVARIATES[3]: "own"}.get(covariate, "")
        pair = arms_of(rows, shadow=shadow, past=covariate == "before")
        last = np.array([rows.day.max()])
        found = ratio_metric("clicks", covariate != "none").analyze_aggregates(
            *(moments(next(arm.looks(last))) for arm in pair)
        )
        gaps.append(math.log1p(found.rel_effect_size) - math.log1p(world.lift))
        errors.append(log_error(found))
    return float(np.mean(gaps) / (np.std(gaps) / math.sqrt(n_draws))), float(np.mean(errors))


def false_table(n_draws: int) -> list[str]:
    """Return how often intervals miss without an effect, Markdown."""
    lines = [
        "| 30 days, no effect | as if impressions were independent, any look | one-look interval by unit, last look | "
        "any look | confidence sequence, any look | of log loss |",
        "| --- " * 6 + "|",
    ]
    for name, world in WORLDS.items():
        found = shares(looks_of(world, seed=seed) for seed in range(n_draws))
        loss = shares(looks_of(world, seed=seed, metric="log_loss") for seed in range(n_draws // 2))
        cells = (found[0, 0], found[1, 1], found[1, 0], found[2, 0], loss[2, 0])
        lines.append(f"| {name} | {' | '.join(f'{one:.1%}' for one in cells)} |")
    return lines


def power_table(n_draws: int) -> list[str]:
    """Return how often a lift is seen that should be with a chance of 80%, Markdown."""
    lines = ["| world | lift computed | seen at the last look | at any look |", "| --- " * 4 + "|"]
    for name, world in list(WORLDS.items())[:3]:
        lift, at_last, at_any = share_seen(world, n_draws=n_draws)
        lines.append(f"| {name} | {lift:.1%} | {at_last:.0%} | {at_any:.0%} |")
    return lines


def ratio_table(n_draws: int) -> list[str]:
    """Return how often lost units are found, Markdown."""
    lines = [
        "| units of the treatment lost | found in 30 days | on day (mean) |",
        "| --- " * 3 + "|",
    ]
    for lost in (0.0, 0.02, 0.05, 0.1):
        share, day = ratio_alarms(World(1000, 30, return_chance=0.0, lost=lost), n_draws=n_draws)
        lines.append(f"| {lost:.0%} | {share:.1%} | {'-' if math.isnan(day) else f'{day:.0f}'} |")
    return lines


def covariate_table(n_draws: int) -> list[str]:
    """Return what covariates do, Markdown."""
    lines = [
        "| covariate | mean error of the lift, in its standard errors | standard error |",
        "| --- " * 3 + "|",
    ]
    world = World(150, 14, days_before=14, concentration=5.0, return_chance=0.3)
    for covariate in COVARIATES:
        bias, error = covariate_errors(world, covariate, n_draws=n_draws)
        lines.append(f"| {covariate} | {bias:+.1f} | {error:.4f} |")
    return lines


def tables(n_draws: int = 100) -> str:
    """Return the tables of docs/ab_test.md, Markdown."""
    fewer = n_draws * 2 // 5
    parts = (
        false_table(n_draws),
        power_table(fewer),
        ratio_table(fewer),
        covariate_table(n_draws),
    )
    return "\n\n".join("\n".join(part) for part in parts)


if __name__ == "__main__":
    print(tables())  # noqa: T201
