"""ECS services that run: as many tasks as desired, of the desired revision, registered with the target group.

A task that ended is replaced. A new revision starts beside the old one, whose tasks are stopped once the new ones
answer ``/readyz``. A revision of which three tasks end before they answer is given up (ECS's circuit breaker).
"""

import threading
import urllib.request
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from moto.ecs.models import ecs_backends
from moto.elbv2.models import elbv2_backends

from tests.rehearsal.containers import Containers

DRAIN_S = 2.0
FAILURE_LIMIT = 3
SIMULATED = f"ECS's services ({FAILURE_LIMIT} failures, {DRAIN_S:.0f} s to drain)"
_POLL_S = 0.5


@dataclass
class _State:
    """What is remembered of one service."""

    tasks: list[Any] = field(default_factory=list)
    deployment: str = ""
    n_failed: int = 0


class Services:
    """Reconciles every service in turn, in a thread of its own.

    Attributes
    ----------
    ports
        By target group, the local ports of the tasks that answer.
    """

    def __init__(self, containers: Containers):
        self._containers = containers
        self._states: dict[str, _State] = defaultdict(_State)
        self._stopping = threading.Event()
        self.ports: dict[str, set[int]] = defaultdict(set)

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """Stop reconciling; tasks keep running."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(_POLL_S):
            for regions in list(ecs_backends.values()):
                for backend in list(regions.values()):
                    for service in list(backend.services.values()):
                        if service.load_balancers and service.task_definition:
                            self._reconcile(backend, service, self._states[service.arn])

    def _reconcile(self, backend: Any, service: Any, state: _State) -> None:
        if service.status == "ACTIVE":
            definition = backend.describe_task_definition(service.task_definition)
            service.task_definition = definition.arn  # callers may name the family
        else:  # deleted, and perhaps its task definition with it
            service.desired_count = 0
        revision = service.task_definition
        if state.deployment != service.deployments[0]["id"]:  # UpdateService forced a new one
            state.deployment, state.n_failed = service.deployments[0]["id"], 0
        for task in list(state.tasks):
            if task.last_status == "STOPPED":
                state.n_failed += not task.is_ready and task.task_definition_arn == revision
                self._remove(service, state, task)
            elif not task.is_ready and _answers(task):
                self._register(service, task)
        current = [task for task in state.tasks if task.task_definition_arn == revision]
        n_ready = sum(task.is_ready for task in current)
        has_failed = state.n_failed >= FAILURE_LIMIT
        for _ in range(0 if has_failed else service.desired_count - len(current)):
            state.tasks.append(self._start(backend, service, revision))
        if n_ready >= service.desired_count:
            old = [task for task in state.tasks if task.task_definition_arn != revision]
            for task in [*current[service.desired_count :], *old]:
                self._remove(service, state, task)
                stop = (task, "Scaling activity initiated by deployment")
                threading.Timer(DRAIN_S, self._containers.stop, stop).start()
        self._describe(service, state, n_ready, has_failed)

    def _start(self, backend: Any, service: Any, revision: str) -> Any:
        return backend.run_task(
            service.cluster_name,
            revision,
            1,
            None,
            service.deployments[0]["id"],
            None,
            "FARGATE",
            service.network_configuration,
            group=f"service:{service.name}",
        )[0]

    def _register(self, service: Any, task: Any) -> None:
        task.is_ready = True
        group = service.load_balancers[0]["targetGroupArn"]
        self.ports[group].add(task.port)
        _elb(service).register_targets(group, [_target(service, task)])

    def _remove(self, service: Any, state: _State, task: Any) -> None:
        """Take a task out of a service and of its target group."""
        state.tasks.remove(task)
        group = service.load_balancers[0]["targetGroupArn"]
        self.ports[group].discard(task.port)
        with suppress(Exception):  # it was never registered, or the group is deleted
            _elb(service).deregister_targets(group, [_target(service, task)])

    def _describe(self, service: Any, state: _State, n_ready: int, has_failed: bool) -> None:
        """Write what DescribeServices is to return."""
        running = [task for task in state.tasks if task.last_status == "RUNNING"]
        service.running_count = len(running)
        service.pending_count = len(state.tasks) - len(running)
        old = [t for t in state.tasks if t.task_definition_arn != service.task_definition]
        is_done = not old and n_ready >= service.desired_count
        primary = {
            **service.deployments[0],
            "taskDefinition": service.task_definition,
            "desiredCount": service.desired_count,
            "runningCount": n_ready,
            "rolloutState": "FAILED" if has_failed else "COMPLETED" if is_done else "IN_PROGRESS",
            "rolloutStateReason": f"circuit breaker: {FAILURE_LIMIT} tasks ended" * has_failed,
        }
        before = {**primary, "status": "ACTIVE"}
        service.deployments = [primary, before] if old else [primary]


def _answers(task: Any) -> bool:
    if task.last_status == "RUNNING":
        address = f"http://127.0.0.1:{task.port}/readyz"
        with suppress(OSError), urllib.request.urlopen(address, timeout=1) as answer:
            return bool(answer.status == 200)
    return False


def _elb(service: Any) -> Any:
    return elbv2_backends[service._account_id][service.region_name]


def _target(service: Any, task: Any) -> dict[str, Any]:
    """Return a task's address in its network, as the load balancer knows it."""
    details = {one["name"]: one["value"] for one in task.attachments[0]["details"]}
    port = service.load_balancers[0]["containerPort"]
    return {"Id": details["privateIPv4Address"], "Port": str(port)}
