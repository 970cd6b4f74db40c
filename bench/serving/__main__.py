"""The service and its peers side by side: ``python -m bench.serving``; ``--soak MINUTES`` runs ours alone."""

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
from bench.serving import contestants, material, rounds, soak, tables, versions
from bench.serving.load import Call, find_wrk
from bench.serving.scoring import time_scoring
from bench.serving.soak_figure import draw
from bench.serving.targets import outcomes
from bench.serving.way import time_way
from bench.throughput import run_command
from tasks.errors import ConfigError

KINDS = ("ftrl", "sgd", "fm")


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; return the exit code."""
    options = _parse(arguments)
    work = run_soak if options.soak else run
    return run_command(lambda console: work(options, console))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.serving", description=__doc__)
    keys = list(contestants.LABELS)
    parser.add_argument("--rounds", type=int, default=3, help="of all measurements")
    parser.add_argument(
        "--seconds", type=float, default=5, help="of a run with all requests it can"
    )
    parser.add_argument("--paced-seconds", type=float, default=30, help="at the constant rate")
    parser.add_argument("--rate", type=float, help="requests/s: 500, or 300 of a soak")
    parser.add_argument("--connections", type=int, default=8, help="of wrk")
    parser.add_argument("--requests", type=int, default=2_000, help="distinct ones, sent in turn")
    parser.add_argument("--rows", type=int, default=100_000, help="simulated rows to train on")
    parser.add_argument("--bits", type=int, default=20, help="2^bits weights, as in env.yaml")
    parser.add_argument("--kind", choices=KINDS, default="ftrl", help="of the model")
    parser.add_argument(
        "--only", nargs="+", choices=keys, default=keys, help="leave out the others"
    )
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="run ours so long instead")
    parser.add_argument("--swap-seconds", type=float, default=60, help="between models in a soak")
    parser.add_argument("--no-save", action="store_true", help="leave bench/results as it is")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, console: Console) -> None:
    """Serve all contestants, hold the rounds, print and save what was found."""
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
        made, python = _material(options, status.update, needs_peers="reference" in options.only)
        starts = contestants.starts(made, peers_python=python)
        if "ours" in options.only:
            status.update("building the Bento")
            starts = {"ours": _ours(made, Path(place))} | starts
        chosen = {key: start for key, start in starts.items() if key in options.only}
        status.update("starting the servers")
        with contestants.serve_all(chosen, made) as servers:
            contestants.check_answers(servers, made)
            predict, rank = Call("/predict", made.impressions), Call("/rank", made.rankings)
            records = rounds.hold(servers, predict, rank, plan, status.update)
        shutil.rmtree(made.folder / "exposures", ignore_errors=True)
        scoring, way = {}, {}
        if "ours" in chosen:
            status.update("scoring in process")
            scoring, way = time_scoring(made.models[0], made.rows), time_way(made)
    found = outcomes(records, scoring)
    tables.show_contestants(console, records, plan)
    tables.show_outcomes(console, found, title="What is to be reached")
    for path, steps in way.items():
        tables.show_way(console, steps, title=f"{path}, in process")
    content = {
        "plan": asdict(plan),
        "versions": versions.found(python),
        "contestants": {key: asdict(record) for key, record in records.items()},
        "scoring": scoring,
        "way_us": way,
        "targets": [outcome.to_dict() for outcome in found],
    }
    _save(options, console, "serving", content)


def run_soak(options: argparse.Namespace, console: Console) -> None:
    """Run ours for a long time with model swaps; print, draw and save what was found."""
    plan = soak.SoakPlan(options.soak, options.rate or 300, options.swap_seconds)
    soak.check(plan)
    with console.status("") as status, tempfile.TemporaryDirectory() as place:
        made, _ = _material(options, status.update, needs_peers=False)
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


def _material(
    options: argparse.Namespace, tell: Any, *, needs_peers: bool
) -> tuple[material.Material, Path]:
    """Return what is served and sent, and the Python of the peers (ours if none takes part)."""
    tell("peers' environment")
    python = peers_python() if needs_peers else Path(sys.executable)
    tell(f"{options.rows:,} simulated rows")
    data = prepare(options.rows)
    tell("training the models")
    made = material.make(
        data,
        kind=options.kind,
        bits=options.bits,
        n_requests=options.requests,
        peers_python=python if needs_peers else None,
    )
    return made, python


def _ours(made: material.Material, place: Path) -> contestants.Start:
    """Build the Bento in a store that is gone afterwards, its exposures on the disk of the data."""
    exposures = made.folder / "exposures"
    shutil.rmtree(exposures, ignore_errors=True)
    return contestants.start_ours(made, home=place / "bentoml", exposures=exposures)


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
