"""ECS tasks that run: RunTask starts a container under the task role, by podman or as processes, StopTask ends it."""

import sys
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3

from tests.rehearsal import disks, podman
from tests.rehearsal.images import Image, Registry
from tests.rehearsal.log_stream import LogStream
from tests.rehearsal.ports import free_port
from tests.rehearsal.processes import KILLED_FOR_MEMORY, Processes

SPOT_REASON = "Your Spot Task was interrupted."
GRACE_LIMIT_S = 60.0
HOST_LOST = "the rehearsal takes the host of this task away"


@dataclass
class Containers:
    """All that are running in one emulator.

    Parameters
    ----------
    folder
        Where containers have their disks.
    hosts
        Addresses that only AWS resolves, to those that stand for them here.
    """

    endpoint: str
    folder: Path
    registry: Registry
    hosts: dict[str, str]
    running: dict[str, Processes] = field(default_factory=dict)

    def start(self, backend: Any, task: Any) -> None:
        """Start a task's container; the task's status follows it."""
        task.containers[0].exitCode = None
        task.port = free_port()
        threading.Thread(target=_Container(self, backend, task).run, daemon=True).start()

    def stop(self, task: Any, reason: str) -> None:
        """Ask a task to end; what the reason says of spot decides the stop code, as with AWS.

        With HOST_LOST nothing is asked: it is killed, and ECS has to find out.
        """
        if task.last_status == "STOPPED":
            return
        if reason == HOST_LOST:
            self.running[task.task_arn].kill()
            return
        task.stopped_reason = reason
        task.stop_code = "SpotInterruption" if reason == SPOT_REASON else "UserInitiated"
        task.desired_status = "STOPPED"
        processes = self.running.get(task.task_arn)
        if processes is not None:
            processes.stop(min(task.grace_s, GRACE_LIMIT_S))

    def end_all(self) -> None:
        """Kill whatever runs."""
        for processes in list(self.running.values()):
            processes.kill()

    def client(self, service: str, region: str, role: str | None = None) -> Any:
        """Return a client of the emulator, under a role or as the operator."""
        keys = self.credentials(region, role) if role else _OPERATOR
        return boto3.client(service, region_name=region, endpoint_url=self.endpoint, **keys)

    def credentials(self, region: str, role: str) -> dict[str, str]:
        """Return keys of a role, by boto3's names."""
        found = self.client("sts", region).assume_role(RoleArn=role, RoleSessionName="container")
        keys = found["Credentials"]
        return {
            "aws_access_key_id": keys["AccessKeyId"],
            "aws_secret_access_key": keys["SecretAccessKey"],
            "aws_session_token": keys["SessionToken"],
        }


_OPERATOR = {"aws_access_key_id": "operator", "aws_secret_access_key": "operator"}


class _Container:
    """One task's only container, from its image to its exit code."""

    def __init__(self, all_: Containers, backend: Any, task: Any):
        self.all, self.task = all_, task
        self.definition = backend.describe_task_definition(task.task_definition_arn)
        self.container = self.definition.container_definitions[0]
        given = task.overrides.get("containerOverrides") or [{}]
        self.override = next(
            (one for one in given if one.get("name") == self.container["name"]), {}
        )
        task.grace_s = float(self.container.get("stopTimeout", 30))

    def run(self) -> None:
        task = self.task
        try:
            processes, log = self._begin()
        except Exception as error:
            self._stopped(None, "TaskFailedToStart", str(error))
            return
        code = processes.wait()
        self.all.running.pop(task.task_arn, None)
        log.close()
        if processes.memory_killed and code == 137:
            task.containers[0].reason = KILLED_FOR_MEMORY
        self._stopped(code, "EssentialContainerExited", "Essential container in task exited")

    def _begin(self) -> tuple[Processes, LogStream]:
        task, region = self.task, self.task.region_name
        image = self.all.registry.pull(self.container["image"])
        told = self._told(image)
        log = self._log()
        processes = self._start(image, told, log)
        self.all.running[task.task_arn] = processes
        task.containers[0].last_status = task.last_status = "RUNNING"
        task.started_at = datetime.now(UTC)
        task.region = region
        if task.desired_status == "STOPPED":  # asked to stop before it began
            processes.stop(min(task.grace_s, GRACE_LIMIT_S))
        return processes, log

    def _start(self, image: Image, told: dict[str, str], log: LogStream) -> Processes:
        """Start podman's container of a built image, and processes of one that is folders."""
        words = self.override.get("command") or self.container.get("command") or image.command
        words = [word.replace("{port}", str(self.task.port)) for word in words]
        cpu, memory_mb = self._size("cpu", 256), self._size("memory", 512)
        if image.built:
            read_only = bool(self.container.get("readonlyRootFilesystem"))
            size = {"cpu": cpu, "memory_mb": memory_mb}
            return podman.Container(
                image.built, words, told, **size, say=log.say, read_only=read_only
            )
        folder = disks.disk(image, self._folder())
        told = disks.variables(image, folder, self.all.folder.parent / "cache") | told
        words = [sys.executable if word == "python" else word for word in words]
        return Processes(words, folder, told, memory_mb=memory_mb, say=log.say)

    def _size(self, name: str, least: int) -> int:
        return int(self.task.overrides.get(name) or getattr(self.definition, name) or least)

    def _folder(self) -> Path:
        """Return a folder that is the same in every attempt at a task of a run, as a container's is."""
        told = {one["name"]: one["value"] for one in self.override.get("environment", [])}
        parts = [told.get("CLICKLAB_RUN") or self.task.id]
        parts += [(self.override.get("command") or [""])[-1], told.get("CLICKLAB_SHARD", "")]
        return self.all.folder / "_".join(filter(None, parts))

    def _told(self, image: Image) -> dict[str, str]:
        """Return what ECS tells a container, and what its image sets."""
        region = self.task.region_name
        told = {one["name"]: one["value"] for one in self.container.get("environment", [])}
        told |= {one["name"]: one["value"] for one in self.override.get("environment", [])}
        secrets = self.all.client("secretsmanager", region, self.definition.execution_role_arn)
        for one in self.container.get("secrets", []):
            arn = one["valueFrom"]
            told[one["name"]] = secrets.get_secret_value(SecretId=arn)["SecretString"]
        for name, value in told.items():
            for address, here in self.all.hosts.items():
                told[name] = told[name].replace(address, here) if address in value else told[name]
        role = self.task.overrides.get("taskRoleArn") or self.definition.task_role_arn
        ours = {
            "AWS_ENDPOINT_URL": self.all.endpoint,
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
            "CLICKLAB_LOG_STREAM": self._stream(),
        }
        set_ = {
            name: value.replace("{port}", str(self.task.port))
            for name, value in image.environment.items()
        }
        keys = self.all.credentials(region, role)
        return {**ours, **set_, **told} | {name.upper(): value for name, value in keys.items()}

    def _stream(self) -> str:
        options = self.container.get("logConfiguration", {}).get("options", {})
        prefix = options.get("awslogs-stream-prefix", "ecs")
        return f"{prefix}/{self.container['name']}/{self.task.id}"

    def _log(self) -> LogStream:
        options = self.container["logConfiguration"]["options"]
        client = self.all.client("logs", self.task.region_name, self.definition.execution_role_arn)
        return LogStream(client, options["awslogs-group"], self._stream())

    def _stopped(self, code: int | None, stop_code: str, reason: str) -> None:
        task = self.task
        container = task.containers[0]
        container.exitCode, container.last_status = code, "STOPPED"
        task.stopped_reason = task.stopped_reason or reason
        task.stop_code = getattr(task, "stop_code", None) or stop_code
        task.stopped_at = datetime.now(UTC)
        task.desired_status = "STOPPED"
        task.last_status = "STOPPED"  # last: this is what a poller looks at


def patch_ecs(containers: Containers) -> None:
    """Let moto's RunTask and StopTask start and stop containers."""
    from moto.ecs.models import EC2ContainerServiceBackend as Backend
    from moto.moto_api import state_manager

    state_manager.set_transition("ecs::task", {"progression": "manual", "times": 10**9})
    run = Backend.run_task

    def run_task(self: Any, *words: Any, **named: Any) -> Any:
        tasks = run(self, *words, **named)
        for task in tasks:
            containers.start(self, task)
        return tasks

    def stop_task(self: Any, cluster_str: str, task_str: str, reason: str) -> Any:
        name = task_str.split("/")[-1]
        tasks = [task for found in self.tasks.values() for task in found.values()]
        task = next(task for task in tasks if task.id == name)
        containers.stop(task, reason or "Task stopped by user")
        return task

    Backend.run_task, Backend.stop_task = run_task, stop_task
    # On Fargate the task's memory is enough; moto adds up what containers ask for, and fails where they do not.
    nothing = {"CPU": 0, "MEMORY": 0, "PORTS": [], "PORTS_UDP": []}
    Backend._calculate_task_resource_requirements = staticmethod(lambda definition: dict(nothing))
