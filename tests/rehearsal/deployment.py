"""A deployment of the pipeline in the emulator: images are pushed to it, runs started, their traces read."""

import json
import secrets
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moto.sns.models import sns_backends

from infra.runs import executions
from infra.runs.progress import ENDED
from tests.rehearsal import account
from tests.rehearsal.emulator import ACCOUNT, REGION, Emulator
from tests.rehearsal.guard import guarded
from tests.rehearsal.images import Image, env_file, pipeline_image, rehearsal_env
from tests.rehearsal.machine import definition_template
from tests.rehearsal.podman import Engine
from tests.rehearsal.scenario import check, wait_for
from tests.rehearsal.tracking import Tracking, tracking_server

MODEL, DATA = "ftrl", "sim://avazu?rows=6000&seed=7"


@dataclass
class Deployment:
    """What the pipeline's scenarios are played in.

    Attributes
    ----------
    values
        The deployment's values, named as Terraform's outputs.
    env
        The knobs in the image that is deployed.
    template
        The state machine's definition, which `values` complete.
    baseline
        A run that succeeded, once one has: scenarios continue from its products.
    """

    emulator: Emulator
    values: dict[str, Any]
    tracking: Tracking
    env: dict[str, Any]
    image: Image
    template: str
    engine: Engine
    baseline: str = ""
    _n_deployed: int = 0

    def deploy(
        self,
        files: Mapping[str, str],
        *,
        time_limits_s: Mapping[str, int] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Push an image with these files and variables, and let the state machine start its containers."""
        self._n_deployed += 1
        tag, image = f"{self.engine.tag}-{self._n_deployed}", self.image
        if files:
            image = image.with_files(self.emulator.folder / "images" / tag, files)
        name = f"{self.values['pipeline_repository']}:{tag}"
        self.emulator.images[name] = replace(image, environment=environment or {})
        self.values["pipeline_task_definition"] = account.register_pipeline(
            self.emulator, self.values, tag
        )
        template = definition_template(self.env, time_limits_s) if time_limits_s else self.template
        self.emulator.client("stepfunctions").update_state_machine(
            stateMachineArn=self.values["state_machine_arn"],
            definition=account.definition(self.values, template),
        )

    # ---- runs

    def start(self, *, run: str = "", **given: Any) -> str:
        """Start an execution with this input, named as the run, and return the run's id."""
        run = run or f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
        text = json.dumps({"run": run, "data": "", "model": "", **given})
        self.emulator.client("stepfunctions").start_execution(
            stateMachineArn=self.values["state_machine_arn"], name=run, input=text
        )
        return run

    def start_only(self, *tasks: str, **given: Any) -> str:
        """Start a run of these tasks alone, the others being called done; return its id."""
        return self.start(done=self._others(tasks), **given)

    def end_of(self, run: str) -> dict[str, Any]:
        """Return a run's latest execution once it has ended."""

        def find() -> dict[str, Any] | None:
            found = executions.describe(self.values, run)
            return found if found["status"] in ENDED else None

        return wait_for(find, f"the end of run {run}")

    def _others(self, tasks: Iterable[str]) -> list[str]:
        return [name for name in executions.deployed_tasks(self.values) if name not in tasks]

    def baseline_run(self) -> str:
        """Return a run of one model that succeeded; it is played once."""
        if not self.baseline:
            self.deploy({})  # without the fault of the scenario before this one
            run = self.start(model=MODEL, data=DATA)
            ended = self.end_of(run)
            check(ended["status"] == "SUCCEEDED", f"a run of {MODEL}, got {ended.get('cause')}")
            self.baseline = run
        return self.baseline

    def copy_of_baseline(self, *tasks: str) -> str:
        """Return a new run's id that has the baseline's products, as if these tasks had not finished."""
        source, run = self.baseline_run(), f"copy-{secrets.token_hex(4)}"
        s3, bucket = self.emulator.client("s3"), self.values["bucket"]
        for name in self.files(source):
            if name not in [f"tasks/{task}.json" for task in tasks]:
                place = {"Bucket": bucket, "Key": f"runs/{source}/{name}"}
                s3.copy_object(Bucket=bucket, Key=f"runs/{run}/{name}", CopySource=place)
        return run

    # ---- the schedule

    def schedule_input(self, *tasks: str, **given: Any) -> None:
        """Change the schedule's input; with tasks, it starts these alone."""
        scheduler, where = self.emulator.client("scheduler"), self._schedule()
        found = scheduler.get_schedule(**where)
        done = self._others(tasks) if tasks else []
        text = {**json.loads(found["Target"]["Input"]), "done": done, **given}
        kept = ("ScheduleExpression", "FlexibleTimeWindow", "State")
        scheduler.update_schedule(
            **where,
            Target={**found["Target"], "Input": json.dumps(text)},
            **{key: found[key] for key in kept},
        )

    def fire_schedule(self) -> str:
        """Do what EventBridge Scheduler does when the time comes, under the schedule's role; return the run's id."""
        found = self.emulator.client("scheduler").get_schedule(**self._schedule())
        check(found["State"] == "ENABLED", "the schedule to be on")
        target = found["Target"]
        role = self.emulator.client("iam").get_role(RoleName=target["RoleArn"].rpartition("/")[2])
        trust = json.dumps(role["Role"]["AssumeRolePolicyDocument"])
        check("scheduler.amazonaws.com" in trust, "the schedule's role to trust the scheduler")
        started = self.emulator.client("stepfunctions", role=target["RoleArn"]).start_execution(
            stateMachineArn=target["Arn"], input=target["Input"], name=str(uuid.uuid4())
        )
        return str(started["executionArn"].rpartition(":")[2])

    def _schedule(self) -> dict[str, str]:
        values = self.values
        return {"Name": values["schedule_name"], "GroupName": values["schedule_group"]}

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

    def wait_for_log(self, run: str, text: str) -> None:
        """Wait until the log of a run has a text."""
        wait_for(lambda: self.has_logged(run, text), f"{text!r} in the log")

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


@contextmanager
def emulated(folder: Path, engine: Engine) -> Iterator[tuple[Emulator, Tracking]]:
    """Yield an empty account, and MLflow in a folder beside its own; all of it ends with the context."""
    server = tracking_server(folder / "mlflow", engine.built.get("tracking", ""))
    with guarded(folder), ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        starting = pool.submit(stack.enter_context, server)  # both take a while
        emulator = stack.enter_context(Emulator(folder))
        yield emulator, starting.result()


def first_image(folder: Path, env: Mapping[str, Any], engine: Engine) -> Image:
    """Return the pipeline's image with these knobs."""
    image = pipeline_image(folder / "images/code", engine.built.get("pipeline", ""))
    return image.with_files(folder / "images/knobs", env_file(env))


@contextmanager
def deployment(folder: Path, engine: Engine) -> Iterator[Deployment]:
    """Yield a deployment that is created directly, without Terraform."""
    env = rehearsal_env()
    template = definition_template(env)
    with emulated(folder, engine) as (emulator, tracking):
        image = first_image(folder, env, engine)
        emulator.images[f"{account.REPOSITORY}:{engine.tag}"] = image
        values = account.create(emulator, template, tracking.uri, engine.tag)
        yield Deployment(emulator, values, tracking, env, image, template, engine)
