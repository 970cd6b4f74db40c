"""A deployment in the emulator: Terraform applies it, images are pushed to it, runs started, their traces read."""

import json
import secrets
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from moto.sns.models import sns_backends

from infra.aws import outputs
from infra.release.revisions import revision_with
from infra.runs import executions
from infra.runs.commands import start, switch_schedule
from infra.runs.progress import ENDED
from tasks.storage.files import write_atomic
from tests.rehearsal.emulator import ACCOUNT, REGION, Emulator
from tests.rehearsal.images import Image, pipeline_image, rehearsal_env
from tests.rehearsal.scenario import check, wait_for
from tests.rehearsal.terraform_copy import TerraformCopy, plan
from tests.rehearsal.tracking import Tracking

MODEL, DATA = "ftrl", "sim://avazu?rows=6000&seed=7"
_TAG = "initial"  # the tag that Terraform gives images that were never pushed


class Deployment:
    """What scenarios are played in; its values exist once :meth:`apply` has been called.

    Attributes
    ----------
    values
        The outputs of Terraform; the task definition of the pipeline is replaced by :meth:`deploy`.
    env
        The knobs in the image that is deployed.
    whole_run
        A run of all models that succeeded, once one has.
    services
        Task definitions of the service by what their image is: ``good`` and, with the same image, ``next``; ``failing``,
        ``broken``, ``missing``.
    """

    values: dict[str, Any]

    def __init__(self, emulator: Emulator, tracking: Tracking, *, is_whole: bool):
        self.emulator, self.tracking, self.is_whole = emulator, tracking, is_whole
        self.env, self.whole_run, self._baseline = rehearsal_env(), "", ""
        self.services: dict[str, str] = {}
        self.image = pipeline_image(emulator.folder / "code", self.env)
        self.terraform = TerraformCopy(
            emulator.folder / "terraform", plan(self.env), self._variables()
        )
        self._n_deployed = 0

    def _variables(self) -> list[str]:
        """Return the variables of a small deployment, or of the pipeline alone."""
        if self.is_whole:
            return [
                "-var=service_tasks={min=1,max=3}",
                "-var=service_size={cpu=1024,memory_mb=2048}",
            ]
        tracking = f"-var=external_tracking_uri={self.tracking.uri}"
        return ["-var=serving=false", "-var=tracking=false", tracking]

    def apply(self) -> int:
        """Apply the Terraform; return the number of its resources."""
        write_atomic(self.emulator.folder / "outputs.json", json.dumps(self.terraform.apply_all()))
        self.values = outputs()
        self.emulator.addresses[self.values["tracking_uri"]] = self.tracking.uri
        self.emulator.images[f"{self.values['pipeline_repository']}:{_TAG}"] = self.image
        return len(self.terraform.addresses())

    # ---- images

    def revision(self, kind: str, tag: str, image: Image | None) -> str:
        """Push an image, unless it is to be missing; return a task definition's revision that names it.

        Parameters
        ----------
        kind
            ``pipeline`` or ``service``.
        """
        name = f"{self.values[f'{kind}_repository']}:{tag}"
        if image:
            self.emulator.images[name] = image
        return revision_with(self.values[f"{kind}_task_definition"], name)

    def deploy(
        self,
        files: Mapping[str, str] | None = None,
        *,
        time_limits_s: Mapping[str, int] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Push the pipeline's image with these files and variables, and let the state machine start its containers."""
        self._n_deployed += 1
        image = replace(self.image.with_files(files or {}), environment=environment or {})
        before = self.values["pipeline_task_definition"]
        now = self.revision("pipeline", f"rehearsal-{self._n_deployed}", image)
        machine, arn = self.emulator.client("stepfunctions"), self.values["state_machine_arn"]
        text = machine.describe_state_machine(stateMachineArn=arn)["definition"]
        definition = json.loads(text.replace(before, now))
        definition["States"]["Plan"]["Result"] = plan(self.env, time_limits_s)
        machine.update_state_machine(stateMachineArn=arn, definition=json.dumps(definition))
        self.values["pipeline_task_definition"] = now

    # ---- runs

    def start(self, *, run: str = "", **given: Any) -> str:
        """Start an execution with this input, named as the run, and return the run's id."""
        run = run or f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
        start(self.values, run, {"run": run, **given})
        return run

    def start_only(self, *tasks: str, **given: Any) -> str:
        """Start a run of these tasks alone, the others being called done; return its id."""
        return self.start(done=self._others(tasks), **given)

    def end_of(self, run: str) -> dict[str, Any]:
        """Return a run's latest execution once it has ended."""
        wait_for(
            lambda: executions.describe(self.values, run)["status"] in ENDED, f"the end of {run}"
        )
        return executions.describe(self.values, run)

    def check_success(self, run: str) -> None:
        """Raise ScenarioError with the run's notice unless it succeeds."""
        check(self.end_of(run)["status"] == "SUCCEEDED", f"success, got {self.notice(run)}")

    def _others(self, tasks: Iterable[str]) -> list[str]:
        return [name for name in executions.deployed_tasks(self.values) if name not in tasks]

    def baseline_run(self) -> str:
        """Return a run of one model that succeeded: scenarios continue from its products; it is played once."""
        if not self._baseline:
            self.deploy()  # without the fault of the scenario before this one
            run = self.start(model=MODEL, data=DATA)
            self.check_success(run)
            self._baseline = run
        return self._baseline

    def copy_of_baseline(self, *tasks: str) -> str:
        """Return a new run's id that has the baseline's products, as if these tasks had not finished."""
        source, run = self.baseline_run(), f"copy-{secrets.token_hex(4)}"
        s3, bucket = self.emulator.client("s3"), self.values["bucket"]
        for name in self.files(source):
            if name not in [f"tasks/{task}.json" for task in tasks]:
                place = {"Bucket": bucket, "Key": f"runs/{source}/{name}"}
                s3.copy_object(Bucket=bucket, Key=f"runs/{run}/{name}", CopySource=place)
        return run

    def fire_schedule(self, n_times: int, *tasks: str, data: str) -> list[str]:
        """Do what EventBridge Scheduler does when the time comes, under the schedule's role; return the runs' ids.

        Parameters
        ----------
        tasks
            The runs are of these alone; none: of all.
        """
        where = {"Name": self.values["schedule_name"], "GroupName": self.values["schedule_group"]}
        switch_schedule(self.values, on=True)
        found = self.emulator.client("scheduler").get_schedule(**where)
        switch_schedule(self.values, on=False)
        check(found["State"] == "ENABLED", "the schedule to be on")
        target = found["Target"]
        role = self.emulator.client("iam").get_role(RoleName=target["RoleArn"].rpartition("/")[2])
        trust = json.dumps(role["Role"]["AssumeRolePolicyDocument"])
        check("scheduler.amazonaws.com" in trust, "the schedule's role to trust the scheduler")
        machine = self.emulator.client("stepfunctions", role=target["RoleArn"])
        done = self._others(tasks) if tasks else []
        text = json.dumps({**json.loads(target["Input"]), "data": data, "done": done})
        runs = [str(uuid.uuid4()) for _ in range(n_times)]
        for run in runs:
            machine.start_execution(stateMachineArn=target["Arn"], input=text, name=run)
        return runs

    # ---- traces

    def containers(self, run: str, task: str = "") -> list[dict[str, Any]]:
        """Return the ECS tasks of a run, or of one of its tasks, oldest first."""
        ecs, cluster = self.emulator.client("ecs"), self.values["cluster"]
        arns = ecs.list_tasks(cluster=cluster)["taskArns"]
        arns += ecs.list_tasks(cluster=cluster, desiredStatus="STOPPED")["taskArns"]
        arns = list(dict.fromkeys(arns))
        found = ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
        mine = [one for one in found if _belongs_to(one, run, task)]
        return sorted(mine, key=lambda one: one.get("createdAt", one.get("startedAt", 0)))

    def exit_codes(self, run: str, task: str) -> list[int | None]:
        """Return the exit code of each attempt at a task that has ended, oldest first."""
        return [
            one["containers"][0].get("exitCode")
            for one in self.containers(run, task)
            if one["lastStatus"] == "STOPPED"
        ]

    def wait_for_attempt(self, run: str, task: str) -> list[int | None]:
        """Return the exit codes of a task once an attempt at it has ended."""
        return wait_for(lambda: self.exit_codes(run, task) or None, f"an attempt at {task}")

    def has_logged(self, run: str, text: str) -> bool:
        """Return whether the log of a run has a text."""
        return any(text in line for line in executions.logs(self.values, run))

    def files(self, run: str, folder: str = "") -> list[str]:
        """Return what the bucket has of a run."""
        prefix = f"runs/{run}/{folder}"
        pages = self.emulator.client("s3").get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.values["bucket"], Prefix=prefix)
        return [one["Key"][len(prefix) :] for page in found for one in page.get("Contents", ())]

    def read_json(self, key: str) -> dict[str, Any]:
        """Return a JSON file of the bucket."""
        found = self.emulator.client("s3").get_object(Bucket=self.values["bucket"], Key=key)
        return dict(json.load(found["Body"]))

    def notice(self, run: str) -> str:
        """Return the last notice of a run, once there is one."""
        topic = sns_backends[ACCOUNT][REGION].topics[self.values["topic_arn"]]

        def find() -> str | None:
            sent = [(str(one[2]), one[1]) for one in topic.sent_notifications]
            mine = [f"{subject}: {text}" for subject, text in sent if run in subject]
            return mine[-1] if mine else None

        return wait_for(find, f"a notice of run {run}", limit_s=20)

    def champion(self) -> str:
        """Return the version that MLflow calls champion."""
        from mlflow import MlflowClient

        client = MlflowClient(self.tracking.uri)
        name = client.search_registered_models()[0].name
        return str(client.get_model_version_by_alias(name, "champion").version)


def _belongs_to(container: Mapping[str, Any], run: str, task: str) -> bool:
    for override in container["overrides"].get("containerOverrides", ()):
        given = {one["name"]: one["value"] for one in override.get("environment", ())}
        if given.get("CLICKLAB_RUN") == run and task in ("", override["command"][-1]):
            return True
    return False
