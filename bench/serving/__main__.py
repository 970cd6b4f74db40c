"""The service side by side with its peers: ``python -m bench.serving``; ``--soak MINUTES`` runs ours alone."""

import argparse
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import report
from bench.data import prepare
from bench.peers import peers_python
from bench.serving import contestants, rounds, soak, tables, versions
from bench.serving.load import Call, find_wrk
from bench.serving.request_steps import time_steps
from bench.serving.scoring import time_scoring
from bench.serving.soak_figure import draw
from bench.serving.targets import outcomes
from bench.serving.workload import KINDS, Workload, make_workload
from bench.throughput import run_command
from tasks.errors import ConfigError


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; return the exit code."""
    options = _parse(arguments)
    work = run_soak if options.soak else run
    return run_command(lambda console: work(options, console))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.serving", description=__doc__)
    keys = list(contestants.LABELS)
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of all measurements")
    parser.add_argument("--seconds", type=float, default=5, help="length of a run at full load")
    parser.add_argument(
        "--paced-seconds", type=float, default=30, help="length of a run at the constant rate"
    )
    parser.add_argument("--rate", type=float, help="constant requests/s (500; soak: 300)")
    parser.add_argument("--connections", type=int, default=8, help="of wrk at full load")
    parser.add_argument(
        "--requests", type=int, default=2_000, help="distinct requests, sent in turn"
    )
    parser.add_argument("--rows", type=int, default=100_000, help="simulated rows to train on")
    parser.add_argument("--bits", type=int, default=20, help="2^bits weights, as in env.yaml")
    parser.add_argument("--kind", choices=list(KINDS), default="ftrl", help="kind of model")
    parser.add_argument("--only", nargs="+", choices=keys, default=keys, help="skip the others")
    parser.add_argument(
        "--soak", type=float, metavar="MINUTES", help="run ours alone for this long"
    )
    parser.add_argument(
        "--swap-seconds", type=float, default=60, help="between model swaps of a soak"
    )
    parser.add_argument("--no-save", action="store_true", help="do not write to bench/results")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, console: Console) -> None:
    """Serve all contestants, run the rounds, print and save the results."""
    if options.rounds < 1:
        raise ConfigError(f"rounds must be at least 1, got {options.rounds}")
    find_wrk()
    plan = rounds.Plan(
        options.rounds,
        options.seconds,
        options.paced_seconds,
        options.connections,
        options.rate or 500,
    )
    with console.status("") as status, tempfile.TemporaryDirectory() as place:
        made, python = _prepare(options, status.update, needs_peers="reference" in options.only)
        commands = contestants.peer_commands(made, peers_python=python)
        if "ours" in options.only:
            status.update("building the Bento")
            commands = {"ours": _ours(made, Path(place))} | commands
        chosen = {key: commands[key] for key in commands if key in options.only}
        status.update("starting the servers")
        with contestants.serve_all(chosen, made) as servers:
            contestants.check_answers(servers, made)
            predict, rank = Call("/predict", made.impressions), Call("/rank", made.rankings)
            records = rounds.run_rounds(servers, predict, rank, plan, status.update)
        shutil.rmtree(made.folder / "exposures", ignore_errors=True)
        scoring, steps = {}, {}
        if "ours" in chosen:
            status.update("scoring in process")
            scoring, steps = time_scoring(made.models[0], made.rows), time_steps(made)
    found = outcomes(records, scoring)
    tables.show_contestants(console, records, plan)
    tables.show_outcomes(console, found, title="Targets")
    for path, step_us in steps.items():
        tables.show_steps(console, step_us, title=f"{path}, in process")
    content = {
        "plan": asdict(plan),
        "versions": versions.found(python),
        "contestants": {key: asdict(record) for key, record in records.items()},
        "scoring": scoring,
        "steps_us": steps,
        "targets": [outcome.to_dict() for outcome in found],
    }
    _save(options, console, "serving", content)


def run_soak(options: argparse.Namespace, console: Console) -> None:
    """Run ours for a long time with model swaps; print, draw and save the results."""
    plan = soak.SoakPlan(options.soak, options.rate or 300, options.swap_seconds)
    soak.check(plan)
    with console.status("") as status, tempfile.TemporaryDirectory() as place:
        made, _ = _prepare(options, status.update, needs_peers=False)
        status.update("building the Bento")
        found = soak.soak(_ours(made, Path(place)), made, plan, status.update)
        shutil.rmtree(made.folder / "exposures", ignore_errors=True)
    reached = soak.soak_outcomes(found)
    tables.show_outcomes(console, reached, title=f"Soak of {plan.minutes:g} minutes")
    console.print(tables.soak_lines(found), highlight=False)
    content = {
        "versions": versions.found(),
        **found,
        "targets": [outcome.to_dict() for outcome in reached],
    }
    path = _save(options, console, "serving-soak", content)
    if path is not None:
        draw(found, path.with_suffix(".svg"))


def _prepare(
    options: argparse.Namespace, set_status: Any, *, needs_peers: bool
) -> tuple[Workload, Path]:
    """Return the workload, and the Python of the peers (ours if no peer takes part)."""
    set_status("peers' environment")
    python = peers_python() if needs_peers else Path(sys.executable)
    set_status(f"{options.rows:,} simulated rows")
    data = prepare(options.rows)
    set_status("training the models")
    made = make_workload(
        data,
        kind=options.kind,
        bits=options.bits,
        n_requests=options.requests,
        peers_python=python if needs_peers else None,
    )
    return made, python


def _ours(made: Workload, place: Path) -> contestants.ServerCommand:
    """Build the Bento in a temporary store, with its exposures on the disk of the data."""
    exposures = made.folder / "exposures"
    shutil.rmtree(exposures, ignore_errors=True)
    return contestants.build_ours(made, home=place / "bentoml", exposures=exposures)


def _save(
    options: argparse.Namespace, console: Console, name: str, content: dict[str, Any]
) -> Path | None:
    if options.no_save:
        return None
    head = {"model": options.kind, "bits": options.bits, "n_requests": options.requests}
    path = report.save(name, head | content)
    console.print(f"saved as {path.relative_to(report.ROOT)}", highlight=False)
    return path


if __name__ == "__main__":
    sys.exit(main())
