"""The service's scenarios: real Bento processes behind the load balancer, moved by the release verbs."""

from infra.release.canary import RolledBackError
from infra.release.traffic_weights import read_colors
from tests.rehearsal import services
from tests.rehearsal.load_balancer import SIMULATED
from tests.rehearsal.scenario import Scenario, check, scenario, wait_for
from tests.rehearsal.service import Service

_RATE = 10.0  # requests per second
_SERVICES = f"{SIMULATED}; {services.SIMULATED}"
SERVICE: list[Scenario] = []
"""In the order they are played."""


@scenario(SERVICE, "the run's Bento answers behind the load balancer", simulated=SIMULATED)
def bento_serves(service: Service) -> str:
    """A few seconds of steady load."""
    service.wait_settled()
    with service.load(_RATE) as load:
        wait_for(lambda: load.statuses["200"] >= 50, "50 answers", limit_s=60)
    check(load.n_failed == 0, f"status 200 only, got {dict(load.statuses)}")
    return f"{load.statuses['200']} predictions, none failed"


@scenario(
    SERVICE,
    "a worker killed under load is replaced; only requests in flight at it fail",
    simulated=f"{_SERVICES}; a target that takes no connection is skipped before its health checks fail",
)
def worker_killed(service: Service) -> str:
    """One of two tasks is killed."""
    live = service.wait_settled()
    service.scale(live, 2)
    with service.load(_RATE) as load:
        wait_for(lambda: load.statuses["200"] >= 30, "30 answers", limit_s=60)
        service.kill_task(live)
        wait_for(lambda: service.n_ready(live) == 1, "the loss to be noticed", limit_s=30)
        service.wait_ready(live, 2)
    lost = service.n_lost(live)
    check(load.n_failed == lost, f"{lost} failures, got {dict(load.statuses)}")
    service.scale(live, 1)
    return f"{lost} of {load.statuses.total()} requests lost; the task was replaced"


@scenario(
    SERVICE,
    "a canary that fails is rolled back by its alarm",
    simulated=f"{_SERVICES}; CloudWatch's evaluation of the alarm",
)
def canary_rolled_back(service: Service) -> str:
    """The new revision becomes ready, then answers with server errors."""
    live = service.wait_settled()
    before, why = read_colors(service.values)[live].revision, ""
    with service.load(3 * _RATE) as load:
        try:
            service.rollout().canary(service.revisions["failing"], 50)
        except RolledBackError as error:
            why = str(error)
    now = read_colors(service.values)[live]
    check("5xx" in why, f"a rollback by the alarm, got {why!r}")
    check(now.weight == 100 and now.revision == before, "the old revision to have all the traffic")
    return f"{load.statuses['500']} of {load.statuses.total()} answers were errors; {why}"


@scenario(SERVICE, "a canary is aborted without a failed request", simulated=_SERVICES)
def canary_aborted(service: Service) -> str:
    """A good revision gets a share, which `abort` takes back."""
    live = service.wait_settled()
    with service.load(_RATE) as load:
        service.rollout().canary(service.revisions["next"], 20)
        weight = read_colors(service.values)[live].weight
        service.rollout().abort()
    colors = read_colors(service.values)
    idle = next(color for name, color in colors.items() if name != live)
    check((weight, colors[live].weight) == (80, 100), f"80, then 100 of 100 for {live}")
    check(idle.desired == 0 and load.n_failed == 0, f"status 200 only, got {dict(load.statuses)}")
    return f"{idle.name} had 20 of 100; {load.statuses.total()} requests, none failed"


@scenario(
    SERVICE,
    "a canary that is healthy becomes the release, without a failed request",
    simulated=_SERVICES,
)
def canary_released(service: Service) -> str:
    """A share first, then all."""
    old = service.wait_settled()
    with service.load(_RATE) as load:
        service.rollout().canary(service.revisions["next"], 20)
        service.rollout().release(service.revisions["next"])
    new = service.live()
    check(new != old and load.n_failed == 0, f"the other color live, got {dict(load.statuses)}")
    return f"{old} -> {new} over 20 of 100; {load.statuses.total()} requests, none failed"


@scenario(
    SERVICE, "a deploy of a broken image: the old service keeps answering", simulated=_SERVICES
)
def broken_deploy(service: Service) -> str:
    """Two revisions: one whose image is not in the registry, one whose service does not start."""
    live, reasons = service.wait_settled(), list[str]()
    with service.load(_RATE) as load:
        for kind in ("missing", "broken"):
            try:
                service.rollout().release(service.revisions[kind], is_chosen=True)
            except RolledBackError as error:
                reasons.append(str(error).split(";")[0])
    refused = [one for one in reasons if "does not become healthy" in one]
    check(len(refused) == 2, f"both to be rolled back, got {reasons}")
    check(service.live() == live and load.n_failed == 0, f"200 only, got {dict(load.statuses)}")
    return f"{load.statuses.total()} requests meanwhile, none failed; {reasons[-1]}"
