"""The simulated fleet: waiting against theory, requests counted once, scaling as the Terraform module has it."""

import json
import math
import re

import numpy as np
import pytest

from bench.fleet import __main__ as command
from bench.fleet.costs import Load, Prices, monthly_usd, tasks_needed
from bench.fleet.figure import draw
from bench.fleet.measured import read_worker
from bench.fleet.queueing import erlang_c, mean_wait_s, waits_s
from bench.fleet.scenarios import (
    SHIPPED_PER_S,
    SHIPPED_TASKS,
    assumptions,
    highest_allowed,
    sweep,
)
from bench.fleet.simulation import Rules, Runs, simulate
from bench.fleet.traffic import Traffic, daily_curve, draw_requests, mean_over_peak, peak_rate
from bench.report import RESULTS, ROOT

TERRAFORM = ROOT / "infra" / "terraform"
RULES = Rules(boot_s=60, detect_s=30, give_up_s=1.0, budget_s=0.1)


def fleet(requests, *, target=6_000, tasks=(3, 3), loss_s=-1):
    """Return one run whose tasks answer 100 requests per second."""
    return Runs(
        requests=np.asarray(requests, dtype=float)[:, None],
        day=np.array([0]),
        target_per_minute=np.array([float(target)]),
        min_tasks=np.array([tasks[0]]),
        max_tasks=np.array([tasks[1]]),
        task_per_s=100.0,
        loss_s=np.array([loss_s]),
    )


@pytest.mark.parametrize(("n_cores", "load"), [(1, 0.7), (2, 1.0), (5, 4.5), (30, 24.0)])
def test_erlang_c_is_the_sum_of_the_textbook(n_cores, load):
    """The recursion agrees with the formula written out."""
    terms = [load**k / math.factorial(k) for k in range(n_cores)]
    last = load**n_cores / math.factorial(n_cores) * n_cores / (n_cores - load)
    assert erlang_c(n_cores, load) == pytest.approx(last / (sum(terms) + last), rel=1e-12)


def test_a_load_that_no_queue_survives_is_refused():
    """At as many busy cores as there are, the wait is endless."""
    with pytest.raises(ValueError, match="below n_cores = 2"):
        erlang_c(2, 2.0)


@pytest.mark.parametrize(("n_cores", "busy"), [(1, 0.5), (2, 0.7), (4, 0.8)])
def test_requests_wait_as_long_as_erlang_says(n_cores, busy):
    """With exponential times, share and mean of waiting are those of M/M/c."""
    rng = np.random.default_rng(7)
    arrival_s = rng.exponential(1 / (busy * n_cores), (400, 4_000)).cumsum(axis=1)
    found = waits_s(arrival_s, rng.exponential(1.0, arrival_s.shape), n_cores)[:, 1_000:]
    assert (found > 0).mean() == pytest.approx(erlang_c(n_cores, busy * n_cores), rel=0.03)
    by_theory = mean_wait_s(n_cores, busy * n_cores, service_s=1.0)
    assert found.mean() == pytest.approx(by_theory, rel=0.05)


def test_measured_times_have_the_measured_mean_and_wait_as_pollaczek_and_khinchine_say():
    """One core, the distribution of the service: M/G/1 is exact."""
    worker, rng = read_worker("/predict"), np.random.default_rng(7)
    service_s = worker.service_times_s(rng, (400, 4_000))
    assert service_s.mean() == pytest.approx(1 / worker.requests_per_s, rel=0.01)
    arrival_s = rng.exponential(1 / worker.requests_per_s / 0.6, service_s.shape).cumsum(axis=1)
    by_theory = mean_wait_s(1, 0.6, service_s=1 / worker.requests_per_s, squared_cv=worker.squared_cv)  # fmt: skip
    assert waits_s(arrival_s, service_s, 1)[:, 1_000:].mean() == pytest.approx(by_theory, rel=0.05)


def test_too_much_work_waits_for_a_second_and_is_then_dropped():
    """300 per second for two tasks of 100: the queue holds 200, and every second another 100 are dropped."""
    found = simulate(fleet(np.full(600, 300.0), tasks=(2, 2)), RULES)
    assert found.waiting[0] == 200 and found.served.sum() == 600 * 200
    assert found.dropped.sum() == 600 * 100 - 200
    assert found.late.sum() == found.requests.sum() - found.dropped.sum()


def test_a_lost_zone_is_noticed_replaced_and_counted():
    """150 per second on three tasks: 30 s of a third are unreachable, and a minute later there are three again."""
    found = simulate(fleet(np.full(600, 150.0), loss_s=120), RULES)
    assert found.unreachable.sum() == pytest.approx(30 * 50)
    assert found.dropped.sum() == found.late.sum() == 0
    assert found.tasks[:, 0].tolist() == pytest.approx([3, 3, 2, 2.5] + [3] * 6)


def test_tasks_are_added_after_three_minutes_and_removed_after_fifteen():
    """The count of a minute is seen a minute later, a new task answers after its boot; bounds hold."""
    requests = np.repeat([50.0, 450.0, 50.0], [600, 1_200, 2_400])
    found = simulate(fleet(requests, tasks=(2, 4)), RULES).tasks[:, 0]
    assert found.min() == 2 and found.max() == 4
    assert np.flatnonzero(found == 4)[0] == 10 + 3 + 1 + 1
    assert np.flatnonzero(found[30:] < 4)[0] == 15 + 1


def test_every_request_is_counted_once():
    """Over hours with bursts and a lost zone, what came was answered, dropped, unreachable or is waiting."""
    days = np.stack(
        [draw_requests(900.0, Traffic(), np.random.default_rng(s))[40_000:49_000] for s in (1, 2)],
        1,
    )
    runs = fleet(days[:, 0], target=4_800, tasks=(2, 12), loss_s=5_000)
    runs = Runs(**{**vars(runs), "requests": days, "day": np.array([1])})
    found = simulate(runs, RULES)
    assert found.requests.sum() == days[:, 1].sum()
    ends = found.served + found.dropped + found.unreachable
    assert ends.sum() + found.waiting[0] == pytest.approx(found.requests.sum())


def test_a_run_does_not_depend_on_those_beside_it():
    """Alone or with another that loses a zone at another moment, a run's numbers are the same."""
    requests = np.repeat([150.0, 700.0, 150.0], [600, 900, 1_500])
    alone = fleet(requests, target=4_800, tasks=(2, 12), loss_s=900)
    twice = {name: np.repeat(value, 2, axis=-1) for name, value in vars(alone).items() if name not in ("requests", "task_per_s")}  # fmt: skip
    both = Runs(**vars(alone) | twice | {"loss_s": np.array([900, 620])})
    one, two = simulate(alone, RULES), simulate(both, RULES)
    for name in ("unreachable", "dropped", "late", "tasks"):
        assert getattr(one, name)[:, 0].tolist() == getattr(two, name)[:, 0].tolist()
    assert two.tasks[:, 0].tolist() != two.tasks[:, 1].tolist()


def test_a_day_has_its_peak_and_its_mean():
    """Bursts left out, a day of ten billion has them at the rate that was asked for."""
    assert daily_curve().max() == 1 and daily_curve().shape == (86_400,)
    calm = draw_requests(500.0, Traffic(bursts_per_day=0), np.random.default_rng(7))
    assert calm.mean() == pytest.approx(500 * mean_over_peak(), rel=0.01)
    assert peak_rate(1e10) * mean_over_peak() * 86_400 == pytest.approx(1e10)


@pytest.mark.slow
def test_a_fleet_has_a_reserve_and_a_lower_target_fails_less():
    """One rate, two targets: more tasks, and no more failures."""
    low, high = sweep([400.0], [0.4, 0.9], task_per_s=20.0, n_seeds=2)
    assert low["reserve"] > high["reserve"] and low["calm_share"] <= high["calm_share"]
    assert low["tasks_at_peak"] == pytest.approx(400 / 20 / 0.4, rel=0.1)
    assert low["busy"] < high["busy"] < 1
    assert highest_allowed([low, high | {"calm_share": 0.5}], "calm_share") == {400: 0.4}


def test_dollars_follow_the_formula():
    """A thousand requests per second of a kilobyte, by hand."""
    load = Load(1_000, 600, 400, 1_000, task_hours=48)
    found = monthly_usd(load, Prices(), kept_days=10)
    assert found["tasks"] == pytest.approx(2 * 730 * (0.04048 + 2 * 0.004445))
    assert found["load balancer"] == pytest.approx(730 * (0.0252 + 3.6 * 0.008))
    assert found["exposures stored"] == pytest.approx(864 * 0.023)
    assert found["exposures written"] == pytest.approx(3.6e9 / 64e6 * 730 / 1e3 * 0.005)
    assert tasks_needed(10_001, task_per_s=2_000, utilisation=0.5) == 11


def test_the_rules_are_those_of_the_terraform_module():
    """Cooldowns, health checks, target and bounds are read from the files that are applied."""
    module = TERRAFORM / "modules" / "serving"
    main, balancer = ((module / name).read_text() for name in ("main.tf", "load_balancer.tf"))
    number = lambda text, name: int(re.search(rf"\b{name}\s*=\s*(\d+)", text)[1])  # noqa: E731
    assert Rules().cooldown_out_s == number(main, "scale_out_cooldown")
    assert Rules().cooldown_in_s == number(main, "scale_in_cooldown")
    interval_s = number(balancer, "interval")
    assert Rules().detect_s == interval_s * number(balancer, "unhealthy_threshold")
    assert Rules().boot_s > interval_s * number(balancer, "healthy_threshold") + 13
    variables = (TERRAFORM / "variables.tf").read_text().partition('"requests_per_task"')[2]
    assert number(variables, "default") == SHIPPED_PER_S * 60
    stage = json.loads((TERRAFORM / "production.tfvars.json").read_text())
    assert tuple(stage["service_tasks"].values()) == SHIPPED_TASKS
    assert len(stage["zones"]) == Rules().n_zones


def test_the_saved_result_is_of_these_assumptions():
    """Whoever changes an assumption or a measurement runs the simulation again."""
    saved = json.loads((RESULTS / "fleet.json").read_text())
    assert saved["assumed"] == assumptions() | {"mean_over_peak": mean_over_peak()}
    assert saved["worker"]["requests_per_s"] == read_worker(saved["call"]).requests_per_s


def test_the_figure_is_the_same_file_each_time(tmp_path):
    """It is committed, so the same numbers must give the same bytes."""
    found = json.loads((RESULTS / "fleet.json").read_text())
    for name in ("one.svg", "two.svg"):
        draw(found, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


@pytest.mark.parametrize("option", ["--cores", "--seeds"])
def test_an_option_out_of_range_is_one_line(capsys, option):
    """Nothing is simulated, and the line says what is allowed."""
    assert command.main([option, "0"]) == 3
    assert f"{option} must be from 1 to" in capsys.readouterr().err
