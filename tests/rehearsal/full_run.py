"""The full run, from nothing to nothing: Terraform, a scheduled run, a release, the service's scenarios, destroy."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from infra.release.leftovers import list_tagged, remove_revisions
from infra.release.terraform_cli import FOLDER, Terraform
from infra.runs.commands import switch_schedule
from tasks.simulation.simulate import write_csv
from tasks.storage.files import write_atomic
from tests.conftest import ROOT
from tests.rehearsal import machine
from tests.rehearsal.deployment import Deployment, emulated, first_image
from tests.rehearsal.emulator import Emulator
from tests.rehearsal.images import rehearsal_env
from tests.rehearsal.load_balancer import SIMULATED
from tests.rehearsal.podman import Engine
from tests.rehearsal.report import Result, play_scenario, run_step
from tests.rehearsal.scenario import Scenario, check
from tests.rehearsal.service import Service, behind_load_balancer, push_images
from tests.rehearsal.tracking import Tracking

PLAYED = ("bento-serves", "canary-rolled-back", "canary-aborted", "canary-released")
"""The service's scenarios in it, unless others are requested."""

N_ROWS = 20_000
_AWS = "AWS (moto answers)"
_PARALLEL = "-parallelism=30"
_PLUGINS = ("/opt/tf-plugins", "/usr/share/terraform/plugins", "~/.terraform.d/plugins")
_IGNORED = shutil.ignore_patterns(
    ".terraform", "terraform.tfstate*", "outputs.json", "*.auto.tfvars.json"
)


def play(
    folder: Path, add: Callable[[Result], None], engine: Engine, scenarios: Sequence[Scenario]
) -> None:
    """Play it with these scenarios of the service, adding a result for each step; what needs a failed step is left out."""
    with emulated(folder, engine) as (emulator, tracking):
        _FullRun(folder, add, engine, emulator, tracking).play(scenarios)


class _FullRun:
    """The steps, one after the other; the deployment exists once Terraform is applied."""

    deployment: Deployment

    def __init__(
        self,
        folder: Path,
        add: Callable[[Result], None],
        engine: Engine,
        emulator: Emulator,
        tracking: Tracking,
    ):
        self._folder, self._add, self._engine = folder, add, engine
        self._emulator, self._tracking = emulator, tracking
        self._env = rehearsal_env()
        self._template = machine.definition_template(self._env)
        self._terraform = TerraformRoot(folder / "terraform", self._template, engine.tag)

    def play(self, scenarios: Sequence[Scenario]) -> None:
        """Play as far as possible, and destroy."""
        is_up = self._step("the Terraform of this repository is applied", self._apply, _AWS)
        if is_up:
            self._step("a second plan changes nothing", self._plan, _AWS)
            containers = "" if self._engine.built else "containers are processes; "
            simulated = f"the schedule's clock; {containers}{machine.SHORTENED}"
            title = "the schedule starts a run under its role; every task runs under its task role, from the log to the Bento"
            if self._step(title, self._run, simulated):
                self._step("MLflow has the runs, the models and the champion", self._read_mlflow)
                self._serve(scenarios)
        title = "everything is destroyed, and nothing tagged is left"
        self._step(title, lambda: self._destroy(was_up=is_up), _AWS)

    def _step(self, title: str, play: Callable[[], str], simulated: str = "") -> bool:
        result = run_step(title, play, simulated=simulated)
        self._add(result)
        return result.passed

    def _apply(self) -> str:
        found = self._terraform.apply_all()
        write_atomic(self._emulator.folder / "outputs.json", json.dumps(found))
        values = {name: one["value"] for name, one in found.items()}
        image = first_image(self._folder, self._env, self._engine)
        self._emulator.images[f"{values['pipeline_repository']}:{self._engine.tag}"] = image
        self._emulator.addresses[values["tracking_uri"]] = self._tracking.uri
        self.deployment = Deployment(
            self._emulator, values, self._tracking, self._env, image, self._template, self._engine
        )
        return f"{len(self._terraform.addresses())} resources"

    def _plan(self) -> str:
        check(not self._terraform.has_drift(), "a plan without drift")
        return "no changes"

    def _run(self) -> str:
        deployment, log = self.deployment, self._folder / "log.csv"
        bucket = deployment.values["bucket"]
        write_csv(log, N_ROWS, seed=7)
        self._emulator.client("s3").upload_file(str(log), bucket, "data/log.csv")
        deployment.schedule_input(data=f"s3://{bucket}/data/log.csv")
        switch_schedule(deployment.values, on=True)
        run = deployment.fire_schedule()
        switch_schedule(deployment.values, on=False)
        status, notice = deployment.end_of(run)["status"], deployment.notice(run)
        check(status == "SUCCEEDED", f"the run to succeed: {notice}")
        deployment.baseline = run
        return f"{len(deployment.containers(run))} containers; {notice.split('. ', 1)[-1]}"

    def _read_mlflow(self) -> str:
        from mlflow import MlflowClient

        client = MlflowClient(self._tracking.uri)
        experiments = [one.experiment_id for one in client.search_experiments()]
        n_runs = len(client.search_runs(experiments))
        n_versions = len(client.search_model_versions())
        pointer = self.deployment.read_json("models/champion.json")
        check(n_runs >= len(self._env["models"]), f"a run for each model, got {n_runs}")
        return (
            f"{n_runs} runs, {n_versions} versions, champion {self.deployment.champion()}; on "
            f"{self._tracking.database}; the pointer names {str(pointer['version'])[:12]}"
        )

    def _serve(self, scenarios: Sequence[Scenario]) -> None:
        newest = str(self.deployment.values["service_task_definition"])
        tags = {tag: tag for tag in (*push_images(self.deployment), "missing")}
        tags["next"] = "good"
        revisions = {name: _with_tag(self._emulator, newest, tag) for name, tag in tags.items()}
        with behind_load_balancer(self.deployment, revisions) as service:
            title = "the run's Bento is released"
            if self._step(title, lambda: _release(service), SIMULATED):
                for one in scenarios:
                    self._add(play_scenario(one, service, by_processes=not self._engine.built))

    def _destroy(self, *, was_up: bool) -> str:
        self._terraform.destroy_all()
        if not was_up:
            return "what had been applied is destroyed"
        tags = self.deployment.values["tags"]
        remove_revisions(tags, lambda _: None)
        left, _ = list_tagged(tags)
        check(not left, f"nothing tagged to be left, got {left[:3]}")
        return f"{len(left)} tagged resources left"


def _release(service: Service) -> str:
    said: list[str] = []
    service.rollout(said.append).release(service.revisions["good"])
    return "; ".join(said)


def _with_tag(emulator: Emulator, revision: str, tag: str) -> str:
    """Register a copy of a task definition's revision with another tag of its image; return its ARN."""
    ecs = emulator.client("ecs")
    found = ecs.describe_task_definition(taskDefinition=revision)["taskDefinition"]
    (container,) = found["containerDefinitions"]
    container["image"] = f"{container['image'].rpartition(':')[0]}:{tag}"
    kept = ["family", "networkMode", "requiresCompatibilities", "cpu", "memory", "volumes"]
    kept += ["taskRoleArn", "executionRoleArn", "containerDefinitions"]
    new = ecs.register_task_definition(**{name: found[name] for name in kept})
    return str(new["taskDefinition"]["taskDefinitionArn"])


class TerraformRoot(Terraform):
    """A copy of this repository's root with the rehearsal's provider and state machine; quiet unless it fails."""

    def __init__(self, folder: Path, template: str, tag: str):
        shutil.copytree(ROOT / FOLDER, folder, ignore=_IGNORED)
        for path in (folder / "rehearsal").glob("*_override.tf"):
            shutil.copy2(path, folder)
        write_atomic(folder / "state_machine.json.tftpl", template)
        super().__init__(folder)
        self._variables = [
            "-var-file=small.tfvars.json",
            "-var=environment=rehearsal",
            f"-var=images={{pipeline={json.dumps(tag)}}}",
            "-var=service_tasks={min=1,max=3}",
            "-var=service_size={cpu=1024,memory_mb=2048}",
        ]

    def run(self, *words: str, quiet: bool = True, also_good: Any = ()) -> int:
        return super().run(*words, quiet=True, also_good=also_good)

    def apply_all(self) -> dict[str, Any]:
        """Apply it and return its outputs."""
        self.run("init", "-input=false", *_plugin_dir())
        self.apply("-auto-approve", _PARALLEL, *self._variables)
        return self.outputs()

    def has_drift(self) -> bool:
        """Return whether a second plan would change anything."""
        return self.plan(self.folder.resolve() / "drift.tfplan", *self._variables)

    def destroy_all(self) -> None:
        """Destroy it."""
        self.destroy(_PARALLEL, *self._variables)


def _plugin_dir() -> list[str]:
    """Return where the provider is on this machine; nothing: Terraform downloads it."""
    for place in (os.environ.get("CLICKLAB_TERRAFORM_PLUGINS", ""), *_PLUGINS):
        folder = Path(place).expanduser()
        if place and (folder / "registry.terraform.io/hashicorp/aws").is_dir():
            return [f"-plugin-dir={folder}"]
    return []
