"""AWS rehearsed on this machine: ``python -m tests.rehearsal [SCENARIO ...] [--short] [--engine ENGINE] [--list]``.

Ends with a table of what was shown; the exit code is 1 if something was not.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

import tests.rehearsal.scenarios  # noqa: F401 -- fills PIPELINE
from tasks.errors import ClicklabError, ConfigError
from tests.rehearsal import house, serving_scenarios, whole
from tests.rehearsal.engines import Engine, choose
from tests.rehearsal.scenario import PIPELINE, Scenario
from tests.rehearsal.table import Row, closing_table, timed

WHOLE, ALL = "whole", "all"


def main(words: Sequence[str] | None = None) -> int:
    """Play what is asked for; return 0 if all of it was shown."""
    asked, console = _parse(words), Console()
    try:
        chosen = _chosen(asked)
        engine = None if asked.list else choose(asked.engine, _kinds(chosen))
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    if engine is None:
        for one in (*PIPELINE, *serving_scenarios.SERVING):
            console.print(f"{one.name:22} {one.shows}", highlight=False, soft_wrap=True)
        return 0
    return _rehearse(chosen, engine, console, keep=asked.keep)


def _rehearse(chosen: "Chosen", engine: Engine, console: Console, *, keep: bool) -> int:
    """Play it, print the table, and clean up."""
    console.print(engine.why, highlight=False, markup=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="clicklab-rehearsal-"))
    folder.chmod(0o755)  # PostgreSQL runs as somebody else
    rows: list[Row] = []
    since, is_stopped = time.monotonic(), False
    try:
        _play(chosen, engine, folder, rows, console)
    except KeyboardInterrupt:
        is_stopped = True
        rows.append(Row("(stopped by hand)", False, 0.0, "what was started is ended", ""))
    except ClicklabError as error:
        rows.append(Row("(beginning or end)", False, 0.0, str(error), ""))
    has_failed = any(not row.is_shown for row in rows)
    names = [name.removeprefix("localhost/") for name in engine.built.values()]
    console.print(closing_table(rows, time.monotonic() - since, names))
    if keep or (has_failed and not is_stopped):
        console.print(f"logs and products are kept in {folder}", highlight=False)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return int(has_failed)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.rehearsal", description=str(__doc__).split("\n")[0]
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="these alone, by name")
    parser.add_argument("--short", action="store_true", help="the short set, without Terraform")
    parser.add_argument("--engine", default="", help="podman or processes; else what is there")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    parser.add_argument("--keep", action="store_true", help="leave the folder with all logs")
    return parser.parse_args(words)


def _play(
    chosen: "Chosen", engine: Engine, folder: Path, rows: list[Row], console: Console
) -> None:
    """Play the scenarios chosen and add a row for each; all that was started is ended."""
    if chosen.is_whole:
        whole.play(folder / "whole", lambda row: _add(rows, row, console), engine)
    if not chosen.pipeline and not chosen.serving:
        return
    with house.house(folder / "house", engine) as found:
        for one in chosen.pipeline:
            more = "" if engine.built else one.by_processes
            _add(rows, _row(one, found, more), console)
        if chosen.serving:
            with serving_scenarios.shop(found) as shop:
                for other in chosen.serving:
                    _add(rows, _row(other, shop), console)


def _row(one: Any, place: Any, more: str = "") -> Row:
    simulated = "; ".join(filter(None, [one.simulated, more]))
    return timed(f"{one.name}: {one.shows}", lambda: one.play(place), simulated=simulated)


def _add(rows: list[Row], row: Row, console: Console) -> None:
    rows.append(row)
    mark = "shown" if row.is_shown else "NOT SHOWN"
    line = f"{row.seconds:5.0f} s  {mark}: {row.shows}"
    console.print(line, highlight=False, markup=False, soft_wrap=True)


class Chosen(NamedTuple):
    """The scenarios of the pipeline, those of the service, and whether the whole is played."""

    pipeline: list[Scenario]
    serving: list[Any]
    is_whole: bool


def _kinds(chosen: Chosen) -> list[str]:
    """Return the images that are needed."""
    serves = chosen.is_whole or chosen.serving
    return ["pipeline", "tracking", *(["service"] if serves else [])]


def _chosen(asked: argparse.Namespace) -> Chosen:
    """Return what is to be played; ConfigError if a name is unknown."""
    serving = serving_scenarios.SERVING
    if asked.short:
        return Chosen([one for one in PIPELINE if one.is_short], [], False)
    names = asked.scenarios or [WHOLE]
    known = [one.name for one in (*PIPELINE, *serving)]
    for name in names:
        if name not in (*known, WHOLE, ALL):
            there_are = ", ".join([WHOLE, ALL, *known])
            raise ConfigError(f"no scenario is called {name!r}; there are {there_are}")
    is_all = ALL in names
    return Chosen(
        [one for one in PIPELINE if is_all or one.name in names],
        [one for one in serving if is_all or one.name in names],
        WHOLE in names or is_all,
    )


if __name__ == "__main__":
    sys.exit(main())
