"""AWS rehearsed on this machine: ``python -m tests.rehearsal [SCENARIO ...] [--short] [--list]``.

Ends with a report of every step; the exit code is 1 if one of them failed.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from infra.release.leftovers import list_tagged, remove_revisions
from tasks.errors import ClicklabError, ConfigError
from tests.rehearsal.deployment import Deployment
from tests.rehearsal.deployment_scenarios import AWS, DEPLOYMENT
from tests.rehearsal.emulator import Emulator
from tests.rehearsal.guard import guarded
from tests.rehearsal.pipeline_scenarios import PIPELINE
from tests.rehearsal.scenario import Result, Scenario, check, closing_table, run_step
from tests.rehearsal.service_scenarios import SERVICE
from tests.rehearsal.tracking import tracking_server

ALL = [*DEPLOYMENT, *PIPELINE, *SERVICE]
WHOLE = [*DEPLOYMENT, *SERVICE]


def main(words: Sequence[str] | None = None) -> int:
    """Play the requested scenarios; return 0 if all of them passed."""
    given, console = _parse(words), Console()
    if given.list:
        for one in ALL:
            console.print(f"{one.name:22} {one.title}", highlight=False, soft_wrap=True)
        return 0
    try:
        chosen = _choose(given)
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return _Rehearsal(console).run(chosen, keep=given.keep)


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.rehearsal", description=str(__doc__).split("\n")[0]
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="these alone, by name")
    parser.add_argument("--short", action="store_true", help="the short set, which CI runs")
    parser.add_argument("--list", action="store_true", help="list the scenarios and exit")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs")
    return parser.parse_args(words)


def _choose(given: argparse.Namespace) -> list[Scenario]:
    """Return what is to be played, in order; ConfigError if a name is unknown."""
    if given.short:
        return [one for one in ALL if one.is_short]
    sets = {"whole": WHOLE, "all": ALL} | {one.name: [one] for one in ALL}
    sets |= {one.name: [SERVICE[0], one] for one in SERVICE}
    for name in given.scenarios:
        if name not in sets:
            raise ConfigError(f"no scenario is called {name!r}; there are {', '.join(sets)}")
    chosen = [one for name in given.scenarios or ["whole"] for one in sets[name]]
    return [one for one in ALL if one in chosen]


class _Rehearsal:
    """The results so far, and where they are printed."""

    def __init__(self, console: Console):
        self._console, self._results = console, list[Result]()

    def run(self, scenarios: Sequence[Scenario], *, keep: bool) -> int:
        """Play scenarios, print the report and clean up; return the exit code."""
        folder = Path(tempfile.mkdtemp(prefix="clicklab-rehearsal-"))
        since, is_interrupted = time.monotonic(), False
        try:
            with (
                guarded(folder),
                tracking_server(folder / "mlflow") as tracking,
                Emulator(folder / "aws") as emulator,
            ):
                is_whole = any(one in WHOLE for one in scenarios)
                self._play(Deployment(emulator, tracking, is_whole=is_whole), scenarios)
        except KeyboardInterrupt:
            is_interrupted = True
            self._add(Result("(interrupted)", False, 0.0, "everything was ended"))
        except ClicklabError as error:
            self._add(Result("(start or end)", False, 0.0, str(error)))
        has_failed = not all(result.passed for result in self._results)
        self._console.print(closing_table(self._results, time.monotonic() - since))
        if keep or (has_failed and not is_interrupted):
            self._console.print(f"logs and products are kept in {folder}", highlight=False)
        else:
            shutil.rmtree(folder, ignore_errors=True)
        return int(has_failed)

    def _play(self, deployment: Deployment, scenarios: Sequence[Scenario]) -> None:
        """Apply the Terraform, play the scenarios, and destroy a whole deployment; the pipeline's part ends with the emulator."""
        title = "the Terraform of this repository is applied"
        is_up = self._step(title, lambda: f"{deployment.apply()} resources", AWS)
        for one in scenarios if is_up else ():
            play = partial(one.play, deployment)
            self._step(f"{one.name}: {one.title}", play, one.simulated)
        if deployment.is_whole:
            title = "everything is destroyed, and nothing tagged is left"
            self._step(title, lambda: _destroy(deployment, was_up=is_up), AWS)

    def _step(self, title: str, play: Callable[[], str], simulated: str) -> bool:
        result = run_step(title, play, simulated=simulated)
        self._add(result)
        return result.passed

    def _add(self, result: Result) -> None:
        self._results.append(result)
        mark = "passed" if result.passed else "FAILED"
        line = f"{result.seconds:5.0f} s  {mark}: {result.title}"
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def _destroy(deployment: Deployment, *, was_up: bool) -> str:
    deployment.terraform.destroy_all()
    if not was_up:
        return "what had been applied is destroyed"
    tags = deployment.values["tags"]
    remove_revisions(tags, lambda _: None)
    left, _ = list_tagged(tags)
    check(not left, f"nothing tagged to be left, got {left[:3]}")
    return f"{len(left)} tagged resources left"


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the emulator's threads may still wait for executions that nothing needs
