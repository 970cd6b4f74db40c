"""A deployment of the service behind the load balancer, moved by the release verbs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.release.canary import Rollout, Timing
from infra.release.traffic_weights import read_colors, scale
from tasks.schema import load_schema
from tests.rehearsal.containers import HOST_LOST
from tests.rehearsal.deployment import Deployment
from tests.rehearsal.emulator import Emulator
from tests.rehearsal.images import service_faults, service_image
from tests.rehearsal.load_balancer import Load, LoadBalancer
from tests.rehearsal.scenario import wait_for

TIMING = Timing(ready_s=180.0, watch_s=12.0, poll_s=0.5)
START_LIMIT_S = 240.0


@dataclass
class Service:
    """What the service's scenarios are played in.

    Attributes
    ----------
    revisions
        Task definitions by what their image is: ``good`` and, with the same image, ``next``; ``failing``, ``broken``, ``missing``.
    row
        An impression to predict.
    """

    emulator: Emulator
    values: dict[str, Any]
    balancer: LoadBalancer
    revisions: Mapping[str, str]
    row: Mapping[str, Any]

    def load(self, rate: float) -> Load:
        """Return a context in which predictions are requested at this rate per second."""
        return Load(self.balancer.port, self.row, rate)

    def n_ready(self, color: str) -> int:
        """Return how many of a color's tasks answer."""
        return len(self.balancer.ports(self.values[f"{color}_target_group_arn"]))

    def n_lost(self, color: str) -> int:
        """Return how many requests a color's tasks died under."""
        return self.balancer.statuses[self.values[f"{color}_target_group_arn"]]["lost"]

    def wait_ready(self, color: str, n_tasks: int) -> None:
        """Wait until a color has so many tasks that answer."""
        what = f"{n_tasks} ready tasks of {color}"
        wait_for(lambda: self.n_ready(color) == n_tasks, what, limit_s=START_LIMIT_S)

    def wait_settled(self) -> str:
        """Wait until no alarm is on and the live color answers; return it."""
        watch = self.emulator.client("cloudwatch")
        alarms = {"StateValue": "ALARM"}
        wait_for(
            lambda: not watch.describe_alarms(**alarms)["MetricAlarms"], "no alarm", limit_s=60
        )
        live = self.live()
        wait_for(lambda: self.n_ready(live) > 0, f"{live} to answer", limit_s=START_LIMIT_S)
        return live

    def live(self) -> str:
        """Return the color that has most of the traffic."""
        return max(read_colors(self.values).values(), key=lambda color: color.weight).name

    def scale(self, color: str, n_tasks: int) -> None:
        """Give a color so many tasks, and wait for them."""
        scale(self.values, color, n_tasks)
        self.wait_ready(color, n_tasks)

    def rollout(self, say: Callable[[str], None] = lambda _: None) -> Rollout:
        """Return the release verbs, with short waits."""
        return Rollout(self.values, say, TIMING)

    def kill_task(self, color: str) -> None:
        """Kill one of a color's tasks, as the loss of its host would."""
        ecs, cluster = self.emulator.client("ecs"), self.values["cluster"]
        arns = ecs.list_tasks(cluster=cluster)["taskArns"]
        group = f"service:{self.values[f'{color}_service']}"
        found = ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"]
        mine = [one for one in found if one.get("group") == group]
        arn = next(one["taskArn"] for one in mine if one["lastStatus"] == "RUNNING")
        ecs.stop_task(cluster=cluster, task=arn, reason=HOST_LOST)


def push_images(deployment: Deployment) -> list[str]:
    """Push images of the Bento that the baseline run left in the bucket, good and faulty ones; return their tags."""
    run = deployment.baseline
    emulator, folder = deployment.emulator, deployment.emulator.folder / "service"
    folder.mkdir()
    (name,) = [one for one in deployment.files(run) if one.endswith(".bento")]
    bento = folder / Path(name).name
    bucket = deployment.values["bucket"]
    emulator.client("s3").download_file(bucket, f"runs/{run}/{name}", str(bento))
    good = service_image(bento, folder / "good", deployment.engine.built.get("service", ""))
    images = {"good": good}
    for tag, files in service_faults(good).items():
        images[tag] = good.with_files(folder / tag, files)
    for tag, image in images.items():
        emulator.images[f"{deployment.values['service_repository']}:{tag}"] = image
    return list(images)


@contextmanager
def behind_load_balancer(deployment: Deployment, revisions: Mapping[str, str]) -> Iterator[Service]:
    """Yield the service of a deployment behind a load balancer of its own."""
    row = load_schema(str(deployment.env["schema"])).example_row()
    with LoadBalancer(deployment.emulator, deployment.values) as balancer:
        yield Service(deployment.emulator, deployment.values, balancer, revisions, row)
