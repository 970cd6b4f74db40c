"""ECS tasks that run: RunTask starts a container with the task role's credentials, StopTask ends it."""

import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moto.ecs.models import EC2ContainerServiceBackend as Backend
from moto.logs.exceptions import ResourceNotFoundException
from moto.logs.models import logs_backends
from moto.moto_api import state_manager

from tests.conftest import free_port
from tests.rehearsal.processes import Processes, basic_variables

if TYPE_CHECKING:
    from tests.rehearsal.emulator import Emulator

SPOT_REASON = "Your Spot Task was interrupted."
_KILLED_FOR_MEMORY = "OutOfMemoryError: container killed due to memory usage"
_GRACE_LIMIT_S = 60.0
_run_task = Backend.run_task


class Containers:
    """The containers of an emulator's ECS tasks; a task has one."""

    def __init__(self, emulator: "Emulator"):
        self._emulator = emulator
        self._running: dict[str, Processes] = {}

    def patch_moto(self) -> None:
        """Let moto's RunTask and StopTask start and stop containers."""
        containers = self
        state_manager.set_transition("ecs::task", {"progression": "manual", "times": 10**9})

        def run_task(self: Any, *words: Any, **named: Any) -> Any:
            tasks = _run_task(self, *words, **named)
            for task in tasks:
                containers._start(task)
            return tasks

        def stop_task(self: Any, cluster_str: str, task_str: str, reason: str) -> Any:
            name = task_str.rpartition("/")[2]
            tasks = [task for found in self.tasks.values() for task in found.values()]
            task = next(task for task in tasks if task.id == name)
            containers.stop(task, reason or "Task stopped by user")
            return task

        Backend.run_task, Backend.stop_task = run_task, stop_task
        # Fargate needs the task's memory alone; moto adds up the containers', and fails where they state none.
        nothing = {"CPU": 0, "MEMORY": 0, "PORTS": [], "PORTS_UDP": []}
        Backend._calculate_task_resource_requirements = staticmethod(lambda _: dict(nothing))

    def stop(self, task: Any, reason: str) -> None:
        """Stop a task; the reason decides the stop code, as on AWS."""
        if task.last_status == "STOPPED":
            return
        task.stopped_reason = reason
        task.stop_code = "SpotInterruption" if reason == SPOT_REASON else "UserInitiated"
        task.desired_status = "STOPPED"
        if processes := self._running.get(task.task_arn):
            processes.stop(task.grace_s)

    def kill_all(self) -> None:
        """Kill whatever runs."""
        for processes in list(self._running.values()):
            processes.kill()

    def _start(self, task: Any) -> None:
        task.port, task.is_ready = free_port(), False
        task.containers[0].exitCode = None
        threading.Thread(target=self._run, args=(task,), daemon=True).start()

    def _run(self, task: Any) -> None:
        """Run a task's container from its image to its exit code."""
        try:
            processes = self._begin(task)
        except Exception as error:
            _end(task, None, "TaskFailedToStart", str(error))
            return
        code = processes.wait()
        self._running.pop(task.task_arn, None)
        if processes.memory_killed and code == 137:
            task.containers[0].reason = _KILLED_FOR_MEMORY
        _end(task, code, "EssentialContainerExited", "Essential container in task exited")

    def _begin(self, task: Any) -> Processes:
        definition = task._backend.describe_task_definition(task.task_definition_arn)
        container = definition.container_definitions[0]
        image = self._emulator.images.get(container["image"])
        if image is None:
            raise LookupError(f"CannotPullContainerError: {container['image']}: not found")
        override = (task.overrides.get("containerOverrides") or [{}])[0]
        disk = self._disk(task, override)
        image.unpack(disk)
        words = override.get("command") or container.get("command") or image.command
        words = [word.replace("{port}", str(task.port)) for word in words]
        words = [word.replace("{disk}", str(disk)) for word in words]
        words = [sys.executable if word == "python" else word for word in words]
        write, stream = _log(task, container)
        variables = basic_variables(image.folder, disk, self._emulator.folder / "cache")
        variables |= self._variables(task, definition, override) | dict(image.environment)
        variables["CLICKLAB_LOG_STREAM"] = stream
        memory_mb = int(task.overrides.get("memory") or definition.memory or 512)
        task.grace_s = min(float(container.get("stopTimeout", 30)), _GRACE_LIMIT_S)
        processes = Processes(words, disk, variables, memory_mb=memory_mb, on_line=write)
        self._running[task.task_arn] = processes
        task.containers[0].last_status = task.last_status = "RUNNING"
        task.started_at = datetime.now(UTC)
        if task.desired_status == "STOPPED":  # it was stopped before it started
            processes.stop(task.grace_s)
        return processes

    def _disk(self, task: Any, override: dict[str, Any]) -> Path:
        """Return a folder that is the same in every attempt at a run's task, as a container's is."""
        given = {one["name"]: one["value"] for one in override.get("environment", [])}
        parts = [given.get("CLICKLAB_RUN") or task.id]
        parts += [(override.get("command") or [""])[-1], given.get("CLICKLAB_SHARD", "")]
        return self._emulator.folder / "disks" / "_".join(filter(None, parts))

    def _variables(self, task: Any, definition: Any, override: dict[str, Any]) -> dict[str, str]:
        """Return what ECS gives a container: its variables and the task role's credentials."""
        container = definition.container_definitions[0]
        named = [*container.get("environment", []), *override.get("environment", [])]
        given = {one["name"]: one["value"] for one in named}
        for address, here in self._emulator.addresses.items():
            given = {name: value.replace(address, here) for name, value in given.items()}
        region = dict.fromkeys(("AWS_REGION", "AWS_DEFAULT_REGION"), task.region_name)
        role = task.overrides.get("taskRoleArn") or definition.task_role_arn
        keys = self._emulator.credentials(role)
        given |= {name.upper(): value for name, value in keys.items()}
        return {"AWS_ENDPOINT_URL": self._emulator.endpoint} | region | given


def _log(task: Any, container: dict[str, Any]) -> tuple[Any, str]:
    """Return a function that writes a line to the container's log stream, and the stream's name."""
    options = container["logConfiguration"]["options"]
    group = options["awslogs-group"]
    stream = f"{options['awslogs-stream-prefix']}/{container['name']}/{task.id}"
    backend = logs_backends[task._account_id][task.region_name]
    backend.create_log_stream(group, stream)

    def write(line: str) -> None:
        if line.strip():  # CloudWatch refuses empty messages
            event = {"timestamp": int(time.time() * 1000), "message": line}
            with suppress(ResourceNotFoundException):  # Terraform may delete the group first
                backend.put_log_events(group, stream, [event])

    return write, stream


def _end(task: Any, code: int | None, stop_code: str, reason: str) -> None:
    container = task.containers[0]
    container.exitCode, container.last_status = code, "STOPPED"
    task.stopped_reason = task.stopped_reason or reason
    task.stop_code = getattr(task, "stop_code", None) or stop_code
    task.stopped_at = datetime.now(UTC)
    task.desired_status = "STOPPED"
    task.last_status = "STOPPED"  # last, as this is what is polled
