"""The whole way, from nothing to nothing: Terraform, a scheduled run, the service under load, a canary, destroy."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from infra.release.leftovers import list_tagged, remove_revisions
from infra.runs.commands import switch_schedule
from tasks.schema import load_schema
from tests.rehearsal import counter, knobs, machine, serving_scenarios
from tests.rehearsal.emulator import Emulator
from tests.rehearsal.engines import PROCESSES, Engine
from tests.rehearsal.ground import Ground, with_image
from tests.rehearsal.guard import guarded
from tests.rehearsal.house import REPOSITORY, House, first_image
from tests.rehearsal.serving_scenarios import SERVING, Shop
from tests.rehearsal.stage import Stage, shown, verbs_find
from tests.rehearsal.table import Row, timed
from tests.rehearsal.tracking import Tracking, tracking_server

ROWS = 20_000
_PLAYED = ("bento-serves", "scales-out-and-in", "canary-rolled-back")


def play(folder: Path, add: Callable[[Row], None], engine: Engine = PROCESSES) -> None:
    """Play it, adding a row for each step; what builds on a step that was not shown is left out."""
    env = knobs.rehearsal_env(REPOSITORY)
    template = machine.definition_template(env)
    with (
        guarded(folder, has_podman=bool(engine.built)),
        ExitStack() as stack,
        ThreadPoolExecutor(1) as pool,
    ):
        # MLflow starts while Terraform waits for a database that nobody starts
        server = tracking_server(folder / "mlflow", engine.built.get("tracking", ""))
        tracking = pool.submit(stack.enter_context, server)
        emulator = stack.enter_context(Emulator(folder))
        tag = engine.tag("pipeline")
        ground = Ground(emulator, REPOSITORY, folder / "terraform", template, tag)
        image = first_image(folder, env, engine)
        house = House(folder, None, None, env, image, template, engine)  # type: ignore[arg-type]
        way = _Way(folder, add, house, ground, tracking.result)
        with verbs_find(emulator, folder / "outputs.json"):
            way.go(emulator)


class _Way:
    """The steps, one after the other."""

    def __init__(
        self,
        folder: Path,
        add: Callable[[Row], None],
        house: House,
        ground: Ground,
        tracking: Callable[[], Tracking],
    ):
        self._folder, self._add, self._house, self._ground = folder, add, house, ground
        self._tracking = tracking
        self._values: dict[str, Any] = {}

    def go(self, emulator: Emulator) -> None:
        """Go as far as can be gone, and back."""
        self._emulator = emulator
        is_up = self._step(
            "the Terraform of this repository is applied", self._apply, "AWS (moto answers)"
        )
        if is_up:
            self._step("a second plan changes nothing", self._plan, "AWS (moto answers)")
            has_run = self._step(
                "the schedule is fired as its own role; every task runs under its task role, from the log to the Bento",
                self._run,
                f"the clock of the schedule; {self._containers()}{machine.SHORTENED}",
            )
            if has_run:
                self._step("MLflow has the runs, the models and the champion", self._look)
                self._serve()
        self._step(
            "all is destroyed, and nothing tagged is left", self._destroy, "AWS (moto answers)"
        )

    def _containers(self) -> str:
        return "" if self._house.engine.built else "containers are processes; "

    def _step(self, shows: str, play_: Callable[[], str], simulated: str = "") -> bool:
        row = timed(shows, play_, simulated=simulated)
        self._add(row)
        return row.is_shown

    def _apply(self) -> str:
        self._values = self._ground.apply()
        house = self._house
        house.tracking = self._tracking()
        name = f"{self._values['pipeline_repository']}:{house.engine.tag('pipeline')}"
        self._emulator.registry.push(name, house.image)
        self._emulator.stand_for(self._values["tracking_uri"], house.tracking.uri)
        house.stage = Stage(self._emulator, self._values)
        return f"{self._ground.n_resources()} resources"

    def _plan(self) -> str:
        shown(not self._ground.has_drift(self._folder / "drift.tfplan"), "a plan without drift")
        return "no changes"

    def _run(self) -> str:
        from tasks.simulation.simulate import write_csv

        stage, log = self._house.stage, self._folder / "log.csv"
        write_csv(log, ROWS, seed=7)
        key = "data/log.csv"
        self._emulator.client("s3").upload_file(str(log), self._values["bucket"], key)
        self._house.schedule_only(data=f"s3://{self._values['bucket']}/{key}", done=[])
        switch_schedule(self._values, on=True)
        run = stage.fire_schedule()
        switch_schedule(self._values, on=False)
        status = stage.end_of(run)["status"]
        told = stage.notice(run)
        shown(status == "SUCCEEDED", f"the run succeeded: {told}")
        self._house.baseline = run
        return f"{len(stage.containers(run))} containers; {told.split('. ', 1)[-1]}"

    def _look(self) -> str:
        from mlflow import MlflowClient

        client = MlflowClient(self._house.tracking.uri)
        experiments = [one.experiment_id for one in client.search_experiments()]
        n_runs = len(client.search_runs(experiments))
        n_versions = len(client.search_model_versions())
        pointer = json.loads(self._house.stage.read("models/champion.json") or "{}")
        shown(n_runs >= len(self._house.env["models"]), f"a run for each model, found {n_runs}")
        return (
            f"{n_runs} runs, {n_versions} versions, champion {self._house.champion()}; on "
            f"{self._house.tracking.database}; the pointer names {str(pointer.get('version'))[:12]}"
        )

    def _serve(self) -> None:
        made = serving_scenarios.images_of(
            self._house, self._house.baseline, self._folder / "service"
        )
        for tag, image in made.items():
            self._emulator.registry.push(f"{self._values['service_repository']}:{tag}", image)
        newest = str(self._values["service_task_definition"])
        revisions = {tag: with_image(self._emulator, newest, tag) for tag in made}
        row = load_schema(str(self._house.env["schema"])).example_row()
        with counter(self._emulator, self._values, row) as found:
            shop = Shop(found, revisions)
            if not self._step(
                "the Bento of the run is released",
                lambda: self._release(shop),
                "the load balancer (a local proxy)",
            ):
                return
            for one in SERVING:
                if one.name in _PLAYED:
                    self._step(one.shows, lambda one=one: one.play(shop), one.simulated)  # type: ignore[misc]

    def _release(self, shop: Shop) -> str:
        said: list[str] = []
        shop.counter.rollout(said.append).release(shop.revisions["good"])
        return "; ".join(said)

    def _destroy(self) -> str:
        self._ground.destroy()
        left = 0
        if self._values:
            remove_revisions(self._values["tags"], lambda _: None)
            found, _ = list_tagged(self._values["tags"])
            shown(not found, f"nothing tagged is left, found {found[:3]}")
            left = len(found)
        return f"{left} tagged resources left"
