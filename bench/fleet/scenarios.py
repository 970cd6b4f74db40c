"""Which fleets are simulated, and what is read from each: rates, targets of scaling, a lost zone, other assumptions."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from bench.fleet.measured import Worker
from bench.fleet.queueing import mean_wait_s, waits_s
from bench.fleet.simulation import Outcome, Rules, Runs, simulate
from bench.fleet.traffic import Traffic, daily_curve, draw_requests, peak_rate

RATES = (1e3, 1e4, 1e5, peak_rate(1e10))
SHIPPED_PER_S = 30_000 / 60  # per task: requests_per_task in infra/terraform/variables.tf
SHIPPED_TASKS = (2, 6)  # service_tasks
UTILISATIONS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
ALLOWED = 0.001  # share of requests dropped or late
_UNBOUNDED = 10**6
_SENSITIVITY_AT = (1e5, 0.5)


def sweep(
    rates: Sequence[float],
    utilisations: Sequence[float],
    *,
    task_per_s: float,
    n_seeds: int,
    tasks: tuple[int, int] = (SHIPPED_TASKS[0], _UNBOUNDED),
    rules: Rules | None = None,
    traffic: Traffic | None = None,
) -> list[dict[str, Any]]:
    """Return one record per rate and target utilisation: each seed once with all zones, once with one lost at the peak.

    The days of a seed have their bursts at the same times for every rate.
    """
    rules, traffic = rules or Rules(), traffic or Traffic()
    seeds = range(n_seeds)
    days = [draw_requests(r, traffic, np.random.default_rng([7, s])) for r in rates for s in seeds]
    loss_s = int(daily_curve().argmax())
    # axes: rate, utilisation, seed, zone lost
    shape = (len(rates), len(utilisations), n_seeds, 2)
    rate, target, seed, lost = (axis.ravel() for axis in np.indices(shape))
    runs = Runs(
        requests=np.stack(days, axis=1),
        day=rate * n_seeds + seed,
        target_per_minute=np.array(utilisations)[target] * task_per_s * 60,
        min_tasks=np.full(rate.size, tasks[0]),
        max_tasks=np.full(rate.size, tasks[1]),
        task_per_s=task_per_s,
        loss_s=np.where(lost == 1, loss_s, -1),
    )
    outcome, numbers = simulate(runs, rules), np.arange(rate.size).reshape(shape)
    return [
        {"peak_per_s": rates[i], "utilisation": utilisations[j]}
        | _read(
            outcome, numbers[i, j], minute=loss_s // 60, peak_per_s=rates[i], task_per_s=task_per_s
        )
        for i, j in np.ndindex(shape[:2])
    ]


def _read(
    outcome: Outcome, runs: np.ndarray, *, minute: int, peak_per_s: float, task_per_s: float
) -> dict[str, Any]:
    """Return the record of some runs, ``(n_seeds, 2)``: all zones, one lost.

    ``calm_share``: of the day's requests, dropped or late with all zones; ``lost_share``: of those in the hour after
    a loss, dropped or late more than without it; means over the seeds, and the worst seed. ``reserve``: tasks at the
    peak beyond those that it keeps busy, as a share of these. ``busy``: mean share of the tasks' time.
    """
    hour = slice(minute, minute + 60)
    failed = outcome.dropped + outcome.late
    calm, lost = runs[:, 0], runs[:, 1]
    calm_share = failed[:, calm].sum(0) / outcome.requests[:, calm].sum(0)
    more = failed[hour, :][:, lost].sum(0) - failed[hour, :][:, calm].sum(0)
    lost_share = more / outcome.requests[hour, :][:, lost].sum(0)
    unreachable = outcome.unreachable[:, lost].sum(0) / outcome.requests[:, lost].sum(0)
    tasks = outcome.tasks[:, calm]
    at_peak = float(np.median(tasks[minute - 1]))
    capacity = tasks.sum(0) * 60 * task_per_s
    dropped = outcome.dropped[:, calm].sum(0) / outcome.requests[:, calm].sum(0)
    return {
        "dropped_share": float(dropped.mean()),
        "calm_share": float(calm_share.mean()),
        "calm_worst": float(calm_share.max()),
        "lost_share": float(lost_share.mean()),
        "lost_worst": float(lost_share.max()),
        "unreachable_share": float(unreachable.mean()),
        "tasks_at_peak": at_peak,
        "reserve": at_peak * task_per_s / peak_per_s - 1,
        "tasks_most": float(tasks.max()),
        "task_hours": float(tasks.sum(0).mean() / 60),
        "busy": float((outcome.served[:, calm].sum(0) / capacity).mean()),
    }


def highest_allowed(records: Sequence[dict[str, Any]], share: str) -> dict[int, float | None]:
    """Return, by rate, the highest target up to which at most ``ALLOWED`` of the requests were dropped or late."""
    found: dict[int, float | None] = {}
    for record in sorted(records, key=lambda one: one["utilisation"]):
        rate = round(record["peak_per_s"])
        known = found.setdefault(rate, None)
        before = [one for one in records if round(one["peak_per_s"]) == rate and one["utilisation"] <= record["utilisation"]]  # fmt: skip
        found[rate] = record["utilisation"] if all(one[share] <= ALLOWED for one in before) else known  # fmt: skip
    return found


def sensitivity(*, task_per_s: float, n_seeds: int) -> dict[str, dict[str, Any]]:
    """Return the record of one fleet under other assumptions, one changed at a time."""
    rules, traffic = Rules(), Traffic()
    cases: dict[str, dict[str, Any]] = {
        "as assumed": {},
        "boot 30 s": {"rules": replace(rules, boot_s=30)},
        "boot 300 s": {"rules": replace(rules, boot_s=300)},
        "scaled out after 1 minute, not 3": {"rules": replace(rules, minutes_out=1)},
        "two zones": {"rules": replace(rules, n_zones=2)},
        "bursts half as high": {"traffic": replace(traffic, burst_height=traffic.burst_height / 2)},
        "bursts twice as high": {"traffic": replace(traffic, burst_height=traffic.burst_height * 2)},
        "bursts that last four times as long": {"traffic": replace(traffic, burst_s=traffic.burst_s * 4)},
    }  # fmt: skip
    rate, utilisation = _SENSITIVITY_AT
    return {
        name: sweep([rate], [utilisation], task_per_s=task_per_s, n_seeds=n_seeds, **changed)[0]
        for name, changed in cases.items()
    }


def steady_state(worker: Worker, *, n_runs: int = 200, n_requests: int = 4_000) -> list[dict[str, Any]]:  # fmt: skip
    """Return waiting times (ms) in front of 1, 2 and 4 cores at constant rates: request by request, and by formula."""
    found = []
    for n_cores in (1, 2, 4):
        for utilisation in (0.3, 0.5, 0.7, 0.9):
            rng = np.random.default_rng([7, n_cores, round(100 * utilisation)])
            rate = utilisation * n_cores * worker.requests_per_s
            arrival_s = rng.exponential(1 / rate, (n_runs, n_requests)).cumsum(axis=1)
            service_s = worker.service_times_s(rng, arrival_s.shape)
            waits_ms = 1e3 * waits_s(arrival_s, service_s, n_cores)[:, n_requests // 4 :]
            by_formula = mean_wait_s(
                n_cores,
                utilisation * n_cores,
                service_s=1 / worker.requests_per_s,
                squared_cv=worker.squared_cv,
            )
            found.append(
                {
                    "n_cores": n_cores,
                    "utilisation": utilisation,
                    "mean_ms": float(waits_ms.mean()),
                    "formula_ms": 1e3 * by_formula,
                    "p99_9_ms": float(np.quantile(waits_ms, 0.999)),
                }
            )
    return found


def assumptions() -> dict[str, Any]:
    """Return everything that is assumed, as JSON-ready data."""
    return {"rules": asdict(Rules()), "traffic": asdict(Traffic()), "allowed_share": ALLOWED}
