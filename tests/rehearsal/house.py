"""A rehearsal's parts together: MLflow, emulator, images and a deployment, all in one folder and ended together."""

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from infra.runs.executions import deployed_tasks, logs
from tests.rehearsal import account, images, knobs
from tests.rehearsal.emulator import Emulator
from tests.rehearsal.engines import PROCESSES, Engine
from tests.rehearsal.guard import guarded
from tests.rehearsal.images import Image
from tests.rehearsal.machine import definition_template
from tests.rehearsal.stage import Stage, shown, verbs_find, wait_for
from tests.rehearsal.tracking import Tracking, tracking_server

One, Other = TypeVar("One"), TypeVar("Other")
MODEL, DATA = "ftrl", "sim://avazu?rows=6000&seed=7"
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class House:
    """What scenarios of the pipeline are played in.

    Attributes
    ----------
    env
        The knobs in the image that is deployed.
    engine
        What containers are.
    baseline
        A run that succeeded, once one has: scenarios go on from its products.
    """

    folder: Path
    stage: Stage
    tracking: Tracking
    env: dict[str, Any]
    image: Image
    template: str
    engine: Engine = PROCESSES
    baseline: str = ""
    _n_deployed: int = 0

    def deploy(
        self,
        files: Mapping[str, str],
        *,
        time_limits_s: Mapping[str, int] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Push an image with these files and variables, and let the state machine start containers from it."""
        self._n_deployed += 1
        tag = f"{self.engine.tag('pipeline')}-{self._n_deployed}"
        image = self.image
        if files:
            image = images.layered_image(image, self.folder / "images" / tag, files)
        image = replace(image, environment=environment or {})
        emulator, values = self.stage.emulator, self.stage.values
        emulator.registry.push(f"{account.PIPELINE_IMAGE}:{tag}", image)
        values["pipeline_task_definition"] = account.register(emulator, values, tag)
        template = definition_template(self.env, time_limits_s) if time_limits_s else self.template
        self._update(template)

    def _update(self, template: str) -> None:
        values = self.stage.values
        self.stage.emulator.client("stepfunctions").update_state_machine(
            stateMachineArn=values["state_machine_arn"],
            definition=account.definition(values, template),
        )

    # ---- runs

    def start_only(self, *tasks: str, **given: Any) -> str:
        """Start a run of these tasks alone, the others called done; return its id."""
        return self.stage.start(done=self._others(tasks), **given)

    def schedule_only(self, *tasks: str, **given: Any) -> None:
        """Let the schedule's input ask for these tasks alone."""
        scheduler, values = self.stage.emulator.client("scheduler"), self.stage.values
        where = {"Name": values["schedule_name"], "GroupName": values["schedule_group"]}
        found = scheduler.get_schedule(**where)
        asked = {**json.loads(found["Target"]["Input"]), "done": self._others(tasks), **given}
        scheduler.update_schedule(
            **where,
            Target={**found["Target"], "Input": json.dumps(asked)},
            **{key: found[key] for key in ("ScheduleExpression", "FlexibleTimeWindow", "State")},
        )

    def _others(self, tasks: Iterable[str]) -> list[str]:
        return [name for name in deployed_tasks(self.stage.values) if name not in tasks]

    def exit_codes(self, run: str, task: str) -> list[int | None]:
        """Return the exit code of each attempt at a task that has ended, oldest first."""
        return [
            one["containers"][0].get("exitCode")
            for one in self.stage.containers(run, task)
            if one["lastStatus"] == "STOPPED"
        ]

    def all_stopped(self, run: str, task: str) -> list[int | None] | None:
        """Return the exit codes once no attempt runs, else None."""
        codes = self.exit_codes(run, task)
        return codes if len(codes) == len(self.stage.containers(run, task)) else None

    def wait_for_log(self, run: str, text: str) -> None:
        """Wait until the log of a run has a text."""
        wait_for(
            lambda: next((line for line in logs(self.stage.values, run) if text in line), None),
            f"{text!r} in the log",
        )

    def baseline_run(self) -> str:
        """Return a run of one model that succeeded; played once."""
        if not self.baseline:
            self.deploy({})  # whatever the scenario before this one broke
            run = self.stage.start(model=MODEL, data=DATA)
            ended = self.stage.end_of(run)
            shown(ended["status"] == "SUCCEEDED", f"a run of {MODEL}: {ended.get('cause')}")
            self.baseline = run
        return self.baseline

    def copy_of_baseline(self, *tasks: str) -> str:
        """Return a new run's id that has the baseline's products, these tasks not being finished."""
        source, run = self.baseline_run(), f"copy-{secrets.token_hex(4)}"
        s3, bucket = self.stage.emulator.client("s3"), self.stage.values["bucket"]
        for name in self.stage.files(source):
            if name not in [f"tasks/{task}.json" for task in tasks]:
                place = {"Bucket": bucket, "Key": f"runs/{source}/{name}"}
                s3.copy_object(Bucket=bucket, Key=f"runs/{run}/{name}", CopySource=place)
        return run

    def champion(self) -> str:
        """Return the version that MLflow calls champion."""
        from mlflow import MlflowClient

        client = MlflowClient(self.tracking.uri)
        name = client.search_registered_models()[0].name
        return str(client.get_model_version_by_alias(name, "champion").version)

    @contextmanager
    def without_tracking(self) -> Iterator[None]:
        """Stop MLflow for a while."""
        self.tracking.stop()
        try:
            yield
        finally:
            self.tracking.start()


@contextmanager
def both(
    one: AbstractContextManager[One], other: AbstractContextManager[Other]
) -> Iterator[tuple[One, Other]]:
    """Enter two contexts side by side, as both take a while; leave them in turn."""
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        begun = [pool.submit(stack.enter_context, context) for context in (one, other)]
        yield begun[0].result(), begun[1].result()  # type: ignore[misc]


def first_image(folder: Path, env: Mapping[str, Any], engine: Engine) -> Image:
    """Return the pipeline's image with these knobs."""
    files, built = knobs.as_file(env), engine.built.get("pipeline", "")
    return images.pipeline_image(REPOSITORY, folder / "images/initial", files, built)


@contextmanager
def house(folder: Path, engine: Engine = PROCESSES, **changes: Any) -> Iterator[House]:
    """Yield a house whose deployment is made directly, without Terraform; `changes` are knobs."""
    env = knobs.rehearsal_env(REPOSITORY, **changes)
    template, tag = definition_template(env), engine.tag("pipeline")
    server = tracking_server(folder / "mlflow", engine.built.get("tracking", ""))
    with (
        guarded(folder, has_podman=bool(engine.built)),
        both(server, Emulator(folder)) as (tracking, emulator),
    ):
        image = first_image(folder, env, engine)
        emulator.registry.push(f"{account.PIPELINE_IMAGE}:{tag}", image)
        values = account.create(emulator, template, tracking.uri, tag)
        with verbs_find(emulator, folder / "outputs.json"):
            stage = Stage(emulator, values)
            yield House(folder, stage, tracking, env, image, template, engine)
