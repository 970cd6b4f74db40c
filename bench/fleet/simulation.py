"""A fleet of tasks behind a load balancer for one day, in steps of a second, for many runs at once.

Within a second, requests and cores are quantities, not individuals: a request takes half a millisecond, so a queue that
lasts is a lack of cores, not chance (`bench.fleet.queueing` shows the size of what is left out).
"""

from dataclasses import dataclass, field

import numpy as np

_MINUTE_S = 60


@dataclass(frozen=True)
class Rules:
    """What holds for every run: the Terraform module ``serving``, AWS as its documentation describes it, and clients.

    Attributes
    ----------
    n_zones
        Zones over which tasks are spread.
    cooldown_out_s, cooldown_in_s
        Of the scaling policy.
    minutes_out, minutes_in
        Minutes in a row above the target, or below nine tenths of it, after which AWS adds or removes tasks.
    metric_delay_minutes
        How late a minute's count is seen.
    boot_s
        From the decision to the first request: a machine, the image, the service's start, two health checks.
    detect_s
        Until the load balancer sends nothing to tasks that are gone: three health checks.
    budget_s
        Waiting longer than this for a core is late.
    give_up_s
        No client waits longer: what would is dropped.
    """

    n_zones: int = 3
    cooldown_out_s: int = 30
    cooldown_in_s: int = 300
    minutes_out: int = 3
    minutes_in: int = 15
    metric_delay_minutes: int = 1
    boot_s: int = 80
    detect_s: int = 30
    budget_s: float = 0.1
    give_up_s: float = 1.0


@dataclass(frozen=True)
class Runs:
    """What differs between runs; arrays of shape ``(n_runs,)``.

    Attributes
    ----------
    requests
        Requests in each second of some days, ``(n_seconds, n_days)``.
    day
        Which of them is the run's.
    target_per_minute
        Requests per minute and task at which scaling aims.
    min_tasks, max_tasks
        Bounds of the number of tasks.
    task_per_s
        Requests per second that a task can answer: cores times that of a core.
    loss_s
        Second at which zone 0 is lost for the rest of the day; negative: never.
    """

    requests: np.ndarray
    day: np.ndarray
    target_per_minute: np.ndarray
    min_tasks: np.ndarray
    max_tasks: np.ndarray
    task_per_s: float
    loss_s: np.ndarray


@dataclass
class Outcome:
    """What became of the requests, per minute and run, ``(n_minutes, n_runs)``; `tasks` are those ready, on average.

    `unreachable` were sent to the lost zone, `dropped` found a queue too long, `late` were answered after the budget,
    `waiting` are left at the end, ``(n_runs,)``.
    """

    requests: np.ndarray
    unreachable: np.ndarray
    dropped: np.ndarray
    late: np.ndarray
    served: np.ndarray
    tasks: np.ndarray
    waiting: np.ndarray = field(default_factory=lambda: np.zeros(0))


class _Tasks:
    """Tasks by zone, ``(n_runs, n_zones)``: ready, and on their way for each second to come."""

    def __init__(self, rules: Rules, n_tasks: np.ndarray):
        self.rules = rules
        self.desired = n_tasks.astype(int)
        self.lost = np.zeros(len(n_tasks), dtype=bool)
        self.ready = self._spread()
        self.booting = np.zeros((rules.boot_s, *self.ready.shape), dtype=int)

    def _spread(self) -> np.ndarray:
        """Return the desired tasks by zone, as even as they can be, none in a lost one."""
        zone = np.arange(self.rules.n_zones) - self.lost[:, None]
        n_live = (self.rules.n_zones - self.lost)[:, None]
        each, more = self.desired[:, None] // n_live, self.desired[:, None] % n_live
        return np.where(zone < 0, 0, each + (zone < more))

    def arrive(self, second: int) -> None:
        """Make those ready whose time has come."""
        slot = self.booting[second % self.rules.boot_s]
        self.ready += slot
        slot[:] = 0

    def set_desired(self, desired: np.ndarray, here: np.ndarray, second: int) -> None:
        """In some runs, launch what is missing; stop what is too much where fewer are desired than before."""
        fewer = here & (desired < self.desired)
        self.desired = np.where(here, desired, self.desired)
        wanted = self._spread()
        missing = np.maximum(wanted - self.ready - self.booting.sum(axis=0), 0)
        self.booting[second % self.rules.boot_s] += missing * here[:, None]
        self.ready = np.where(fewer[:, None], np.minimum(self.ready, wanted), self.ready)

    def lose_zone(self, here: np.ndarray) -> np.ndarray:
        """Take zone 0 away in some runs; return the share of ready tasks that were there."""
        share = np.where(here, self.ready[:, 0] / np.maximum(self.ready.sum(axis=1), 1), 0.0)
        self.ready[here, 0] = 0
        self.booting[:, here, 0] = 0
        self.lost |= here
        return share


class _Policy:
    """Target tracking as AWS describes it, decided once per minute."""

    def __init__(self, rules: Rules, runs: Runs):
        self.rules, self.runs = rules, runs
        self.counts: list[np.ndarray] = []
        self.loads: list[np.ndarray] = []
        self.out_s = np.full(len(runs.loss_s), -np.inf)
        self.in_s = np.full(len(runs.loss_s), -np.inf)

    def decide(self, count: np.ndarray, ready: np.ndarray, tasks: _Tasks, second: int) -> None:
        """Take a minute's requests and mean tasks, and set the desired number."""
        rules, runs = self.rules, self.runs
        self.counts.append(count)
        self.loads.append(count / np.maximum(ready, 1) / runs.target_per_minute)
        last = len(self.counts) - rules.metric_delay_minutes
        if last < rules.minutes_out:
            return
        loads = self.loads[:last]
        needed = np.ceil(self.counts[last - 1] / runs.target_per_minute).astype(int)
        needed = np.clip(needed, runs.min_tasks, runs.max_tasks)
        high = np.min(loads[-rules.minutes_out :], axis=0) > 1
        more = high & (needed > tasks.desired) & (second - self.out_s >= rules.cooldown_out_s)
        low = np.max(loads[-rules.minutes_in :], axis=0) < 0.9
        idle = second - np.maximum(self.in_s, self.out_s) >= rules.cooldown_in_s
        fewer = low & idle & (needed < tasks.desired) & (last >= rules.minutes_in)
        self.out_s[more], self.in_s[fewer] = second, second
        if (more | fewer).any():
            tasks.set_desired(needed, more | fewer, second)


def simulate(runs: Runs, rules: Rules) -> Outcome:
    """Return what becomes of the requests of every run, minute by minute.

    Per second: requests to a zone just lost are unreachable; what is not answered waits; what would wait longer than
    ``give_up_s`` is dropped; requests of a second at whose end the wait is above ``budget_s`` are late. AWS replaces
    tasks of a lost zone in the others when it has noticed.
    """
    n_seconds, n_runs = len(runs.requests), len(runs.day)
    first = np.ceil(runs.requests[0, runs.day] * _MINUTE_S / runs.target_per_minute)
    tasks = _Tasks(rules, np.clip(first, runs.min_tasks, runs.max_tasks))
    policy = _Policy(rules, runs)
    names = ("requests", "unreachable", "dropped", "late", "served", "tasks")
    found = Outcome(*(np.zeros((n_seconds // _MINUTE_S, n_runs)) for _ in names))
    counted = [getattr(found, name) for name in names]
    waiting, gone = np.zeros(n_runs), np.zeros(n_runs)
    noticed_s = np.where(runs.loss_s >= 0, runs.loss_s + rules.detect_s, -1)
    for second in range(n_seconds):
        tasks.arrive(second)
        if (here := runs.loss_s == second).any():
            gone = gone + tasks.lose_zone(here)
        if (here := noticed_s == second).any():
            gone = np.where(here, 0.0, gone)
            tasks.set_desired(tasks.desired, here, second)
        minute, requests = second // _MINUTE_S, runs.requests[second, runs.day]
        ready = tasks.ready.sum(axis=1)
        capacity = ready * runs.task_per_s
        unreachable = requests * gone
        work = waiting + requests - unreachable
        served = np.minimum(work, capacity)
        waiting = np.minimum(work - served, capacity * rules.give_up_s)
        dropped = work - served - waiting
        late = np.where(waiting > capacity * rules.budget_s, requests - unreachable - dropped, 0.0)
        of_second = (requests, unreachable, dropped, np.maximum(late, 0.0), served, ready)
        for column, value in zip(counted, of_second, strict=True):
            column[minute] += value
        if second % _MINUTE_S == _MINUTE_S - 1:
            policy.decide(found.requests[minute], found.tasks[minute] / _MINUTE_S, tasks, second)
    found.waiting, found.tasks = waiting, found.tasks / _MINUTE_S
    return found
