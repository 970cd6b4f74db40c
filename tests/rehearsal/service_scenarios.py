"""The service's scenarios: the Bento of a run, released and rolled back by the release verbs under load."""

from pathlib import Path

from infra.release.canary import RolledBackError, Rollout, Timing
from infra.release.traffic_weights import Color, read_colors
from tasks.schema import load_schema
from tests.rehearsal import services, traffic
from tests.rehearsal.deployment import Deployment
from tests.rehearsal.images import broken_service, failing_predictions, service_image
from tests.rehearsal.scenario import Scenario, check, scenario, wait_for
from tests.rehearsal.traffic import Traffic

_TIMING = Timing(ready_s=180.0, watch_s=12.0, poll_s=0.5)
_RATE = 10.0  # requests per second
_SIMULATED = f"{traffic.SIMULATED}; {services.SIMULATED}"
SERVICE: list[Scenario] = []
"""In the order they are played; all need the first."""


@scenario(SERVICE, "a run's Bento is released", simulated=_SIMULATED)
def release(deployment: Deployment) -> str:
    """Its image and broken ones are pushed; this one gets all the traffic."""
    run = deployment.whole_run or deployment.baseline_run()
    folder = deployment.emulator.folder / "service"
    folder.mkdir()
    (name,) = [one for one in deployment.files(run) if one.endswith(".bento")]
    path, bucket = folder / Path(name).name, deployment.values["bucket"]
    deployment.emulator.client("s3").download_file(bucket, f"runs/{run}/{name}", str(path))
    good = service_image(path, folder / "image")
    images = {
        "good": good,
        "next": good,
        "failing": good.with_files(failing_predictions(good)),
        "broken": good.with_files(broken_service()),
        "missing": None,
    }
    revisions = {tag: deployment.revision("service", tag, image) for tag, image in images.items()}
    said: list[str] = []
    Rollout(deployment.values, said.append, _TIMING).release(revisions["good"])
    deployment.services = revisions
    return "; ".join(said)


@scenario(SERVICE, "it answers behind the load balancer", simulated=traffic.SIMULATED)
def bento_serves(deployment: Deployment) -> str:
    """A few seconds of steady load."""
    with _traffic(deployment) as load:
        wait_for(lambda: load.statuses["200"] >= 50, "50 answers", limit_s=60)
    check(load.n_failed == 0, f"status 200 only, got {dict(load.statuses)}")
    return f"{load.statuses['200']} predictions, none failed"


@scenario(SERVICE, "a canary that fails is rolled back by its alarm", simulated=_SIMULATED)
def canary_rolled_back(deployment: Deployment) -> str:
    """The new revision becomes ready, then answers with server errors."""
    before, why = _live(deployment), ""
    with _traffic(deployment, 3 * _RATE) as load:
        try:
            _rollout(deployment).canary(deployment.services["failing"], 50)
        except RolledBackError as error:
            why = str(error)
    now = _live(deployment)
    check("5xx" in why, f"a rollback by the alarm, got {why!r}")
    is_as_before = (now.weight, now.revision) == (100, before.revision)
    check(is_as_before, "the old revision to have all the traffic")
    return f"{load.statuses['500']} of {load.statuses.total()} answers were errors; {why}"


@scenario(SERVICE, "a canary is aborted without a failed request", simulated=_SIMULATED)
def canary_aborted(deployment: Deployment) -> str:
    """A good revision gets a share, which `abort` takes back."""
    before = _live(deployment)
    with _traffic(deployment) as load:
        _rollout(deployment).canary(deployment.services["next"], 20)
        weight = _live(deployment).weight
        _rollout(deployment).abort()
    live, idle = _colors(deployment)
    check((weight, live.weight, live.name) == (80, 100, before.name), "80, then 100 of 100")
    check(idle.desired == 0 and load.n_failed == 0, f"status 200 only, got {dict(load.statuses)}")
    return f"{idle.name} had 20 of 100; {load.statuses.total()} requests, none failed"


@scenario(
    SERVICE,
    "a canary that is healthy becomes the release, without a failed request",
    simulated=_SIMULATED,
)
def canary_released(deployment: Deployment) -> str:
    """A share first, then all."""
    before = _live(deployment)
    with _traffic(deployment) as load:
        _rollout(deployment).canary(deployment.services["next"], 20)
        _rollout(deployment).release(deployment.services["next"])
    now = _live(deployment)
    is_released = now.name != before.name and load.n_failed == 0
    check(is_released, f"the other color live, got {dict(load.statuses)}")
    return (
        f"{before.name} -> {now.name} over 20 of 100; {load.statuses.total()} requests, none failed"
    )


@scenario(
    SERVICE, "a deploy of a broken image: the old service keeps answering", simulated=_SIMULATED
)
def broken_deploy(deployment: Deployment) -> str:
    """Two revisions: one whose image is not in the registry, one whose service does not start."""
    before, reasons = _live(deployment), list[str]()
    with _traffic(deployment) as load:
        for kind in ("missing", "broken"):
            try:
                _rollout(deployment).release(deployment.services[kind], is_chosen=True)
            except RolledBackError as error:
                reasons.append(str(error).split(";")[0])
    refused = [one for one in reasons if "does not become healthy" in one]
    check(len(refused) == 2, f"both to be rolled back, got {reasons}")
    is_as_before = _live(deployment).name == before.name and load.n_failed == 0
    check(is_as_before, f"200 only, got {dict(load.statuses)}")
    return f"{load.statuses.total()} requests meanwhile, none failed; {reasons[-1]}"


def _colors(deployment: Deployment) -> list[Color]:
    """Return the color that has most of the traffic, and the other one."""
    return sorted(read_colors(deployment.values).values(), key=lambda color: -color.weight)


def _live(deployment: Deployment) -> Color:
    return _colors(deployment)[0]


def _rollout(deployment: Deployment) -> Rollout:
    """Return the release verbs, with short waits."""
    return Rollout(deployment.values, lambda _: None, _TIMING)


def _traffic(deployment: Deployment, rate: float = _RATE) -> Traffic:
    """Return a context in which predictions are requested at this rate per second."""
    check(bool(deployment.services), "a Bento that was released")
    row = load_schema(str(deployment.env["schema"])).example_row()
    return Traffic(deployment.values, row, rate)
