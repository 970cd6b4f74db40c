"""AWS rehearsed on this machine: ``python -m tests.rehearsal [SCENARIO ...] [--short] [--engine ENGINE] [--list]``.

Ends with a report of every step; the exit code is 1 if one of them failed.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tasks.errors import ClicklabError, ConfigError
from tests.rehearsal import full_run
from tests.rehearsal.deployment import deployment
from tests.rehearsal.podman import Engine, choose_engine
from tests.rehearsal.report import Result, closing_table, play_scenario
from tests.rehearsal.scenarios import PIPELINE
from tests.rehearsal.service_scenarios import SERVICE

WHOLE, ALL = "whole", "all"


def main(words: Sequence[str] | None = None) -> int:
    """Play the requested scenarios; return 0 if all of them passed."""
    given, console = _parse(words), Console()
    try:
        names = _names(given)
        serves = WHOLE in names or any(one.name in names for one in SERVICE)
        kinds = ["pipeline", "tracking", *(["service"] if serves else [])]
        engine = Engine() if given.list else choose_engine(given.engine, kinds)
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    if given.list:
        for one in (*PIPELINE, *SERVICE):
            console.print(f"{one.name:22} {one.title}", highlight=False, soft_wrap=True)
        return 0
    console.print(engine.why, highlight=False, markup=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="clicklab-rehearsal-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user
    rehearsal = _Rehearsal(folder, engine, console)
    return rehearsal.run(names, keep=given.keep)


class _Rehearsal:
    """The results so far, and where they are printed."""

    def __init__(self, folder: Path, engine: Engine, console: Console):
        self._folder, self._engine, self._console = folder, engine, console
        self._results: list[Result] = []

    def run(self, names: Sequence[str], *, keep: bool) -> int:
        """Play scenarios, print the report and clean up; return the exit code."""
        since, is_interrupted = time.monotonic(), False
        try:
            self._play(names)
        except KeyboardInterrupt:
            is_interrupted = True
            self._results.append(Result("(interrupted)", False, 0.0, "everything was ended"))
        except ClicklabError as error:
            self._results.append(Result("(start or end)", False, 0.0, str(error)))
        has_failed = not all(result.passed for result in self._results)
        images = [name.removeprefix("localhost/") for name in self._engine.built.values()]
        self._console.print(closing_table(self._results, time.monotonic() - since, images))
        if keep or (has_failed and not is_interrupted):
            self._console.print(f"logs and products are kept in {self._folder}", highlight=False)
        else:
            shutil.rmtree(self._folder, ignore_errors=True)
        return int(has_failed)

    def _play(self, names: Sequence[str]) -> None:
        """Play the service's scenarios on the Terraform's deployment, the pipeline's on a quicker one."""
        is_whole = WHOLE in names
        chosen = {*names, *(full_run.PLAYED if is_whole else ())}
        serving = [one for one in SERVICE if one.name in chosen]
        pipeline = [one for one in PIPELINE if one.name in chosen]
        if is_whole or serving:
            full_run.play(self._folder / "whole", self._add, self._engine, serving)
        if pipeline:
            with deployment(self._folder / "deployment", self._engine) as deployed:
                for one in pipeline:
                    self._add(play_scenario(one, deployed, by_processes=not self._engine.built))

    def _add(self, result: Result) -> None:
        self._results.append(result)
        mark = "passed" if result.passed else "FAILED"
        line = f"{result.seconds:5.0f} s  {mark}: {result.title}"
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.rehearsal", description=str(__doc__).split("\n")[0]
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="these alone, by name")
    parser.add_argument("--short", action="store_true", help="the short set, without Terraform")
    parser.add_argument(
        "--engine", default="", help="podman or processes; default: podman if it has the images"
    )
    parser.add_argument("--list", action="store_true", help="list the scenarios and exit")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs")
    return parser.parse_args(words)


def _names(given: argparse.Namespace) -> list[str]:
    """Return the names of what is to be played; ConfigError if one is unknown."""
    if given.short:
        return [one.name for one in PIPELINE if one.is_short]
    known = [WHOLE, *(one.name for one in (*PIPELINE, *SERVICE))]
    names = given.scenarios or [WHOLE]
    for name in names:
        if name not in (*known, ALL):
            raise ConfigError(f"no scenario is called {name!r}; there are {', '.join(known)}, all")
    return known if ALL in names else list(names)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the emulator's threads may still wait for executions that nothing needs
