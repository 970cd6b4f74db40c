"""ECS services that run: as many tasks as desired, of the desired revision, registered with the target group.

A new revision starts beside the old one, whose tasks are stopped once the new ones answer ``/readyz``. A revision of
which three tasks end before they answer is given up (ECS's circuit breaker).
"""

import threading
import urllib.request
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from moto.ecs.models import EC2ContainerServiceBackend as Backend
from moto.ecs.models import ecs_backends
from moto.elbv2.models import elbv2_backends

from tests.rehearsal.containers import Containers

DRAIN_S = 2.0
FAILURE_LIMIT = 3
SIMULATED = f"ECS's services ({FAILURE_LIMIT} failures, {DRAIN_S:.0f} s to drain)"
_POLL_S = 0.5
_update_service = Backend.update_service


@dataclass
class _State:
    """What is remembered of one service."""

    tasks: list[Any] = field(default_factory=list)
    n_failed: int = 0


class Services:
    """Reconciles every service in turn, in a thread of its own."""

    def __init__(self, containers: Containers):
        self._containers = containers
        self._states: dict[str, _State] = defaultdict(_State)
        self._stopping, self._lock = threading.Event(), threading.Lock()

    def start(self) -> None:
        """Begin, and let UpdateService report tasks of the previous revision at once, as ECS does."""
        services = self

        def update_service(self: Any, properties: dict[str, Any]) -> Any:
            is_new = bool(properties.get("task_definition"))
            with services._lock:
                service = _update_service(self, properties)
                state = services._states[service.arn]
                state.n_failed = 0 if is_new else state.n_failed
                _describe(service, state)
            return service

        Backend.update_service = update_service
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """Stop reconciling; tasks keep running."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(_POLL_S):
            for regions in list(ecs_backends.values()):
                for backend in list(regions.values()):
                    for service in list(backend.services.values()):
                        with self._lock:
                            if service.load_balancers and service.task_definition:
                                self._reconcile(backend, service, self._states[service.arn])

    def _reconcile(self, backend: Any, service: Any, state: _State) -> None:
        if service.status == "ACTIVE":
            definition = backend.describe_task_definition(service.task_definition)
            service.task_definition = definition.arn  # callers may name the family
        else:  # deleted, and perhaps its task definition with it
            service.desired_count = 0
        revision, n_wanted = service.task_definition, service.desired_count
        for task in list(state.tasks):
            if task.last_status == "STOPPED":
                state.n_failed += not task.is_ready and task.task_definition_arn == revision
                _remove(service, state, task)
            elif not task.is_ready and _answers(task):
                task.is_ready = True
                _elb(service).register_targets(*_target(service, task))
        current = [task for task in state.tasks if task.task_definition_arn == revision]
        if state.n_failed < FAILURE_LIMIT:
            for _ in range(n_wanted - len(current)):
                state.tasks.append(_start(backend, service))
        if sum(task.is_ready for task in current) >= n_wanted:
            kept = current[:n_wanted]
            for task in [task for task in state.tasks if task not in kept]:
                _remove(service, state, task)
                stop = (task, "Scaling activity initiated by deployment")
                threading.Timer(DRAIN_S, self._containers.stop, stop).start()
        _describe(service, state)


def _start(backend: Any, service: Any) -> Any:
    what, deployment = (service.cluster_name, service.task_definition), service.deployments[0]
    how = (deployment["id"], None, "FARGATE", service.network_configuration)
    return backend.run_task(*what, 1, None, *how, group=f"service:{service.name}")[0]


def _remove(service: Any, state: _State, task: Any) -> None:
    """Take a task out of a service and of its target group."""
    state.tasks.remove(task)
    with suppress(Exception):  # it was never registered, or the group is deleted
        _elb(service).deregister_targets(*_target(service, task))


def _describe(service: Any, state: _State) -> None:
    """Write what DescribeServices is to return."""
    running = [task for task in state.tasks if task.last_status == "RUNNING"]
    service.running_count = len(running)
    service.pending_count = len(state.tasks) - len(running)
    current = [one for one in state.tasks if one.task_definition_arn == service.task_definition]
    is_alone = len(current) == len(state.tasks)
    is_done = is_alone and sum(task.is_ready for task in current) >= service.desired_count
    has_failed = state.n_failed >= FAILURE_LIMIT
    primary = {
        **service.deployments[0],
        "taskDefinition": service.task_definition,
        "desiredCount": service.desired_count,
        "rolloutState": "FAILED" if has_failed else "COMPLETED" if is_done else "IN_PROGRESS",
        "rolloutStateReason": f"circuit breaker: {FAILURE_LIMIT} tasks ended" * has_failed,
    }
    service.deployments = [primary] if is_alone else [primary, {**primary, "status": "ACTIVE"}]


def _answers(task: Any) -> bool:
    if task.last_status == "RUNNING":
        address = f"http://127.0.0.1:{task.port}/readyz"
        with suppress(OSError), urllib.request.urlopen(address, timeout=1) as answer:
            return bool(answer.status == 200)
    return False


def _elb(service: Any) -> Any:
    return elbv2_backends[service._account_id][service.region_name]


def _target(service: Any, task: Any) -> tuple[str, list[dict[str, str]]]:
    """Return the target group, and the task's address in it: its own in the network, and its port on this machine."""
    details = {one["name"]: one["value"] for one in task.attachments[0]["details"]}
    address = {"Id": details["privateIPv4Address"], "Port": str(task.port)}
    return service.load_balancers[0]["targetGroupArn"], [address]
