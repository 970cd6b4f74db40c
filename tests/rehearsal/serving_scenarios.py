"""The service's scenarios: real Bento processes behind the proxy, moved by the release verbs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.release.blue_green import read_colors
from infra.release.rollout import RolledBackError
from tasks.schema import load_schema
from tests.rehearsal import controller, scaling, serving_account
from tests.rehearsal.counter import Counter, counter
from tests.rehearsal.house import House
from tests.rehearsal.images import Image
from tests.rehearsal.service_images import broken_image, failing_image, service_image
from tests.rehearsal.stage import shown, wait_for

_STEADY, _MUCH = 10.0, 60.0  # requests a second; one task is to get 20 of them


@dataclass
class Shop:
    """What the service's scenarios are played in.

    Attributes
    ----------
    revisions
        Task definitions by what is in their image: ``good``, ``failing``, ``broken``.
    """

    counter: Counter
    revisions: Mapping[str, str]


@dataclass(frozen=True)
class ServingScenario:
    """As :class:`tests.rehearsal.scenario.Scenario`, played in a shop."""

    name: str
    shows: str
    simulated: str
    is_short: bool
    play: Callable[[Shop], str]


SERVING: list[ServingScenario] = []
_BALANCER = "the load balancer (a local proxy)"


def _scenario(
    shows: str, *, simulated: str = _BALANCER, is_short: bool = False
) -> Callable[[Callable[[Shop], str]], Callable[[Shop], str]]:
    def put(play: Callable[[Shop], str]) -> Callable[[Shop], str]:
        name = play.__name__.replace("_", "-")
        SERVING.append(ServingScenario(name, shows, simulated, is_short, play))
        return play

    return put


@_scenario("the Bento of the run answers behind the load balancer")
def bento_serves(shop: Shop) -> str:
    """A few seconds of steady load."""
    shop.counter.wait_settled()
    with shop.counter.load(_STEADY) as load:
        wait_for(lambda: load.statuses["200"] >= 50 or None, "50 answers", limit_s=60)
    shown(load.failed == 0, f"every answer is 200, got {dict(load.statuses)}")
    return f"{load.statuses['200']} predictions, none failed"


@_scenario(
    "a worker killed under load is replaced; only requests in flight at it fail",
    simulated=f"{_BALANCER}; it leaves out a target that takes no connection, before its checks do",
)
def worker_killed(shop: Shop) -> str:
    """Two tasks; one is killed."""
    live = shop.counter.wait_settled()
    service = shop.counter.values[f"{live}_service"]
    _want(shop, live, 2)
    with shop.counter.load(_STEADY) as load:
        wait_for(lambda: load.statuses["200"] >= 30 or None, "30 answers", limit_s=60)
        in_flight = load.in_flight
        shop.counter.kill_one(live)
        wait_for(lambda: shop.counter.ready(live) == 1 or None, "the loss", limit_s=30)
        shop.counter.wait_ready(live, 2)
    lost = shop.counter.counts(live)["statuses"].get("lost", 0)
    shown(
        load.failed == lost, f"only what was lost at the target failed, got {dict(load.statuses)}"
    )
    _want(shop, live, 1)
    return f"{service}: {in_flight} in flight, {lost} lost of {load.statuses.total()}; replaced"


@_scenario(
    "load scales the service out, and back in when it is over",
    simulated=f"{_BALANCER}; Application Auto Scaling ({scaling.SHORTENED})",
)
def scales_out_and_in(shop: Shop) -> str:
    """Three times what one task is to get."""
    live = shop.counter.wait_settled()
    seen = [shop.counter.ready(live)]
    with shop.counter.load(_MUCH) as load:
        shop.counter.wait_ready(live, serving_account.LIMITS["max"])
        seen.append(shop.counter.ready(live))
    shop.counter.wait_ready(live, serving_account.LIMITS["min"])
    seen.append(shop.counter.ready(live))
    shown(load.failed == 0, f"every answer is 200, got {dict(load.statuses)}")
    return f"tasks: {' -> '.join(map(str, seen))}; {load.statuses.total()} requests, none failed"


@_scenario(
    "a canary that fails is rolled back by its alarm",
    simulated=f"{_BALANCER}; CloudWatch's evaluation of the alarm",
)
def canary_rolled_back(shop: Shop) -> str:
    """The new revision gets ready, then answers with server errors."""
    live, said = shop.counter.wait_settled(), list[str]()
    before = read_colors(shop.counter.values)[live].revision
    with shop.counter.load(3 * _STEADY) as load:
        try:
            shop.counter.rollout(said.append).canary(shop.revisions["failing"], 50)
            why = ""
        except RolledBackError as error:
            why = str(error)
    now = read_colors(shop.counter.values)[live]
    shown("5xx" in why, f"the alarm rolled it back; said: {said[-1:]} {why}")
    shown(now.weight == 100 and now.revision == before, "what served before serves all")
    n_errors = load.statuses["500"]
    return f"{n_errors} of {load.statuses.total()} answers were errors; {why}"


@_scenario("a canary that is well becomes the release, without a failed request")
def canary_released(shop: Shop) -> str:
    """A share first, then all."""
    old, said = shop.counter.wait_settled(), list[str]()
    with shop.counter.load(_STEADY) as load:
        rollout = shop.counter.rollout(said.append)
        rollout.canary(shop.revisions["good"], 20)
        rollout.release(shop.revisions["good"])
    new = shop.counter.live()
    shown(new != old and load.failed == 0, f"the other colour serves, got {dict(load.statuses)}")
    return f"{old} -> {new} over 20 of 100; {load.statuses.total()} requests, none failed"


@_scenario(
    "a deploy of a broken image: the old service keeps answering",
    simulated=f"{_BALANCER}; ECS's circuit breaker ({controller.GIVE_UP_AFTER} tasks)",
)
def broken_deploy(shop: Shop) -> str:
    """Two revisions: one whose image is not in the registry, one whose service does not start."""
    live, reasons = shop.counter.wait_settled(), list[str]()
    with shop.counter.load(_STEADY) as load:
        for kind in ("missing", "broken"):
            try:
                shop.counter.rollout(str).release(shop.revisions[kind], is_chosen=True)
            except RolledBackError as error:
                reasons.append(str(error).split(";")[0])
    given_up = [one for one in reasons if "does not become healthy" in one]
    shown(len(given_up) == 2, f"both were given up; said: {reasons}")
    shown(shop.counter.live() == live and load.failed == 0, f"all 200: {dict(load.statuses)}")
    return f"{load.statuses.total()} requests meanwhile, none failed; {reasons[-1]}"


def _want(shop: Shop, colour: str, n_tasks: int) -> None:
    """Set a colour's floor and tasks, and wait for them."""
    values = shop.counter.values
    where = {
        "ServiceNamespace": "ecs",
        "ScalableDimension": "ecs:service:DesiredCount",
        "ResourceId": f"service/{str(values['cluster']).rpartition('/')[2]}/{values[f'{colour}_service']}",
    }
    shop.counter.emulator.client("application-autoscaling").register_scalable_target(
        **where, MinCapacity=n_tasks, MaxCapacity=values["service_tasks"]["max"]
    )
    shop.counter.emulator.client("ecs").update_service(
        cluster=values["cluster"], service=values[f"{colour}_service"], desiredCount=n_tasks
    )
    shop.counter.wait_ready(colour, n_tasks)


def images_of(house: House, run: str, folder: Path) -> dict[str, Image]:
    """Return the service's images, made of the Bento that a run left in the bucket."""
    name = next(one for one in house.stage.files(run) if one.endswith(".bento"))
    bento = folder / "run.bento"
    folder.mkdir(parents=True, exist_ok=True)
    s3 = house.stage.emulator.client("s3")
    s3.download_file(house.stage.values["bucket"], f"runs/{run}/{name}", str(bento))
    pointer, built = house.stage.values["model_pointer"], house.engine.built.get("service", "")
    good = service_image(bento, folder / "good", pointer, built)
    return {
        "good": good,
        "failing": failing_image(good, folder / "failing"),
        "broken": broken_image(good, folder / "broken"),
    }


@contextmanager
def shop(house: House) -> Iterator[Shop]:
    """Yield the service of the house's baseline run, in an account made directly."""
    emulator, values = house.stage.emulator, house.stage.values
    for tag, image in images_of(house, house.baseline_run(), house.folder / "service").items():
        emulator.registry.push(f"{serving_account.SERVICE_IMAGE}:{tag}", image)
    serving_account.create(emulator, values, "good")
    revisions = {
        tag: serving_account.register(emulator, values, tag)
        for tag in ("good", "failing", "broken", "missing")
    }
    row = load_schema(str(house.env["schema"])).example_row()
    with counter(emulator, values, row) as found:
        yield Shop(found, revisions)
