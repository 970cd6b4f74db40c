"""The service behind the proxy, as scenarios see it: the proxy's process, its counts, its targets."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from infra.release.blue_green import read_colors
from infra.release.rollout import Rollout, Timing
from tasks.storage.files import write_atomic
from tests.rehearsal.containers import HOST_LOST
from tests.rehearsal.emulator import Emulator
from tests.rehearsal.load import Load
from tests.rehearsal.ports import free_port
from tests.rehearsal.stage import wait_for

PATIENCE = Timing(ready_s=180.0, watch_s=12.0, poll_s=0.5)


@dataclass
class Counter:
    """A deployment's service, reached through the proxy."""

    emulator: Emulator
    values: dict[str, Any]
    port: int
    admin: str
    row: Mapping[str, Any]

    def load(self, rate: float) -> Load:
        """Return a context in which predictions are asked for, so many a second."""
        return Load(self.port, dict(self.row), rate)

    def counts(self, colour: str) -> dict[str, Any]:
        """Return what the proxy has of a colour's target group."""
        with urllib.request.urlopen(self.admin, timeout=5) as answer:
            groups = json.load(answer)["groups"]
        empty = {"weight": 0, "requests": 0, "statuses": {}, "targets": {}}
        return dict(groups.get(self.values[f"{colour}_target_group_arn"], empty))

    def ready(self, colour: str) -> int:
        """Return how many of a colour's targets get requests."""
        return sum(one["ready"] for one in self.counts(colour)["targets"].values())

    def wait_ready(self, colour: str, n_targets: int, *, limit_s: float = 240) -> None:
        """Wait until a colour has so many targets that are ready."""
        wait_for(
            lambda: True if self.ready(colour) == n_targets else None,
            f"{n_targets} ready targets of {colour}",
            limit_s=limit_s,
        )

    def wait_settled(self) -> str:
        """Wait until no alarm rings and the colour that serves is ready; return it."""
        watch = self.emulator.client("cloudwatch")

        def quiet() -> bool | None:
            return None if watch.describe_alarms(StateValue="ALARM")["MetricAlarms"] else True

        wait_for(quiet, "quiet alarms", limit_s=60)
        live = self.live()
        wait_for(lambda: self.ready(live) or None, f"a ready target of {live}", limit_s=240)
        return live

    def live(self) -> str:
        """Return the colour that has most of the traffic."""
        return max(read_colors(self.values).values(), key=lambda colour: colour.weight).name

    def rollout(self, say: Callable[[str], None]) -> Rollout:
        """Return the release verbs' moves, with little patience."""
        return Rollout(self.values, say, PATIENCE)

    def kill_one(self, colour: str) -> None:
        """Kill one of a colour's tasks, as a host that dies."""
        ecs, cluster = self.emulator.client("ecs"), self.values["cluster"]
        arns = ecs.list_tasks(cluster=cluster)["taskArns"]
        found = ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"]
        group = f"service:{self.values[f'{colour}_service']}"
        arn = next(
            one["taskArn"]
            for one in found
            if one.get("group") == group and one["lastStatus"] == "RUNNING"
        )
        ecs.stop_task(cluster=cluster, task=arn, reason=HOST_LOST)


@contextmanager
def counter(
    emulator: Emulator, values: dict[str, Any], row: Mapping[str, Any]
) -> Iterator[Counter]:
    """Yield the service of a deployment behind a proxy of its own process."""
    port, admin = free_port(), free_port()
    command = [sys.executable, "-W", "ignore", "-m", "tests.rehearsal.proxy", str(port), str(admin)]
    command += [values["listener_arn"], str(emulator.folder / "addresses.json")]
    with (emulator.folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **emulator.variables()},
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{admin}/"
    write_atomic(emulator.folder / "proxy.json", json.dumps({"admin": address}))
    try:
        found = Counter(emulator, values, port, address, row)
        wait_for(lambda: _answers(address), "the proxy", limit_s=60)
        yield found
    finally:
        (emulator.folder / "proxy.json").unlink(missing_ok=True)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def _answers(address: str) -> bool | None:
    try:
        with urllib.request.urlopen(address, timeout=2):
            return True
    except OSError:
        return None
