"""What keeps ECS services going: as many tasks as are wanted, of the revision wanted, behind the target group.

It runs inside the emulator. A task that ended is replaced; a new revision is started beside the old one, which goes
only when the new one answers ``/readyz``; a revision of which three tasks end first is given up and what was
there before goes on (the circuit breaker).
"""

import json
import threading
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.storage.files import write_atomic
from tests.rehearsal.containers import Containers

DRAIN_S = 2.0
GIVE_UP_AFTER = 3
SHORTENED = f"draining takes {DRAIN_S:.0f} s instead of 30"
_LOOK_S = 0.5


@dataclass
class _Kept:
    """What is remembered of one service."""

    tasks: list[Any] = field(default_factory=list)
    leaving: list[Any] = field(default_factory=list)
    n_failed: int = 0
    revision: str = ""
    before: str = ""
    given_up: str = ""


class Controller:
    """Looks at all services again and again, in a thread of its own."""

    def __init__(self, containers: Containers, folder: Path):
        self._containers, self._addresses = containers, folder / "addresses.json"
        self._kept: dict[str, _Kept] = {}
        self._known: dict[str, int] = {}

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            for backend in _backends("ecs"):
                for service in list(backend.services.values()):
                    if service.load_balancers and service.task_definition:
                        self._tend(backend, service)
            self._tell()
            time.sleep(_LOOK_S)

    def _tend(self, backend: Any, service: Any) -> None:
        kept = self._kept.setdefault(service.arn, _Kept())
        if service.status != "ACTIVE":  # deleted, but for its name
            service.desired_count = 0
        revision = backend.describe_task_definition(service.task_definition).arn
        service.task_definition = revision
        if revision != kept.revision:
            kept.before, kept.revision, kept.n_failed = kept.revision, revision, 0
        if getattr(service, "is_new", False):
            service.is_new, kept.given_up, kept.n_failed = False, "", 0
        if revision == kept.given_up:  # nothing to go back to: wait for another revision
            return
        self._bury(service, kept)
        mine = [task for task in kept.tasks if task.task_definition_arn == revision]
        for task in kept.tasks:
            self._look_at(service, task)
        ready = [task for task in mine if task.is_ready]
        if kept.n_failed >= GIVE_UP_AFTER and not ready:
            self._give_up(service, kept)
            return
        for _ in range(service.desired_count - len(mine)):
            kept.tasks.append(self._start(backend, service, revision))
        others = [task for task in kept.tasks if task.task_definition_arn != revision]
        extra = mine[service.desired_count :] if len(ready) >= service.desired_count else []
        if len(ready) >= service.desired_count or not service.desired_count:
            extra = extra + others
        for task in extra:
            self._send_away(service, kept, task)
        self._note(service, kept, ready, bool(others))

    def _bury(self, service: Any, kept: _Kept) -> None:
        """Take tasks that ended out of the service; those that never answered count against the revision."""
        for task in [one for one in kept.tasks if one.last_status == "STOPPED"]:
            kept.tasks.remove(task)
            self._deregister(service, task)
            if not task.is_ready and task.task_definition_arn == kept.revision:
                kept.n_failed += 1

    def _give_up(self, service: Any, kept: _Kept) -> None:
        failed = kept.revision
        for task in [one for one in kept.tasks if one.task_definition_arn == failed]:
            self._send_away(service, kept, task)
        reason = f"ECS deployment circuit breaker: tasks failed to start ({GIVE_UP_AFTER})"
        if kept.before:
            service.task_definition = kept.before
        kept.given_up = failed
        service.rollout_failed = {"revision": failed, "reason": reason}
        kept.n_failed = 0
        self._note(service, kept, [], False)

    def _start(self, backend: Any, service: Any, revision: str) -> Any:
        task = backend.run_task(
            service.cluster_name,
            revision,
            1,
            None,
            service.deployments[0]["id"] if service.deployments else "ecs-svc",
            None,
            "FARGATE",
            service.network_configuration or None,
            group=f"service:{service.name}",
        )[0]
        task.is_ready = False
        return task

    def _look_at(self, service: Any, task: Any) -> None:
        if task.is_ready or task.last_status != "RUNNING":
            return
        with (
            suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{task.port}/readyz", timeout=1) as answer,
        ):
            task.is_ready = answer.status == 200
        if task.is_ready:
            self._register(service, task)

    def _send_away(self, service: Any, kept: _Kept, task: Any) -> None:
        kept.tasks.remove(task)
        self._deregister(service, task)
        threading.Timer(
            DRAIN_S, self._containers.stop, (task, "Scaling activity initiated by deployment")
        ).start()

    def _register(self, service: Any, task: Any) -> None:
        place = _place(service, task)
        self._known[f"{place['Id']}:{place['Port']}"] = task.port
        self._tell()
        _balancing(service).register_targets(_group(service), [place])

    def _deregister(self, service: Any, task: Any) -> None:
        with suppress(Exception):  # it was never registered, or the group is gone
            _balancing(service).deregister_targets(_group(service), [_place(service, task)])

    def _note(self, service: Any, kept: _Kept, ready: list[Any], is_moving: bool) -> None:
        """Write what ECS would tell of the service into moto's."""
        running = [task for task in kept.tasks if task.last_status == "RUNNING"]
        service.running_count = len(running)
        service.pending_count = len(kept.tasks) - len(running)
        done = not is_moving and len(ready) >= service.desired_count
        first = {
            **service.deployments[0],
            "taskDefinition": service.task_definition,
            "desiredCount": service.desired_count,
            "runningCount": len(ready),
            "pendingCount": service.pending_count,
            "failedTasks": kept.n_failed,
            "rolloutState": "COMPLETED" if done else "IN_PROGRESS",
        }
        others = []
        if is_moving:
            others.append({**first, "status": "ACTIVE", "taskDefinition": kept.before})
        if failed := getattr(service, "rollout_failed", None):
            others.append(
                {
                    **first,
                    "status": "INACTIVE",
                    "taskDefinition": failed["revision"],
                    "rolloutState": "FAILED",
                    "rolloutStateReason": failed["reason"],
                }
            )
        service.deployments = [first, *others]

    def _tell(self) -> None:
        write_atomic(self._addresses, json.dumps(self._known))


def _backends(service: str) -> list[Any]:
    from moto.backends import get_backend

    accounts = get_backend(service)  # type: ignore[call-overload]
    return [backend for regions in list(accounts.values()) for backend in list(regions.values())]


def _balancing(service: Any) -> Any:
    return next(one for one in _backends("elbv2") if one.region_name == service.region_name)


def _group(service: Any) -> str:
    return str(service.load_balancers[0]["targetGroupArn"])


def _place(service: Any, task: Any) -> dict[str, Any]:
    """Return a task's address in the network, as a load balancer knows it."""
    details = {one["name"]: one["value"] for one in task.attachments[0]["details"]}
    port = service.load_balancers[0]["containerPort"]
    return {"Id": details["privateIPv4Address"], "Port": str(port)}


def patch_services() -> None:
    """Let moto leave counts and health to the controller."""
    from moto.ecs.models import EC2ContainerServiceBackend as Backend
    from moto.elbv2.models import FakeHealthStatus, FakeTargetGroup

    update, health = Backend.update_service, FakeTargetGroup.health_for

    def update_service(self: Any, properties: dict[str, Any]) -> Any:
        is_new = bool(properties.get("task_definition") or properties.get("force_new_deployment"))
        found = self._get_service(
            properties.get("cluster", "default"), properties["service"].split("/")[-1]
        )
        running = found.running_count
        service = update(self, properties)
        service.running_count = running  # moto takes what is wanted for what is there
        if is_new:
            service.rollout_failed, service.is_new = None, True
            service.deployments = [
                {
                    **service.deployments[0],
                    "createdAt": datetime.now(UTC).replace(tzinfo=None),
                    "rolloutState": "IN_PROGRESS",
                    "taskDefinition": service.task_definition,
                }
            ]
        return service

    def health_for(self: Any, target: dict[str, Any], ec2: Any) -> Any:
        known = self.targets.get(target["Id"])
        if known is None or target["Id"].startswith("i-"):
            return health(self, target, ec2)
        return FakeHealthStatus(
            target["Id"], known.get("Port", self.port), self.health_check_port, "healthy"
        )

    Backend.update_service, FakeTargetGroup.health_for = update_service, health_for
