"""From log to trained model, side by side with peers: ``python -m bench.throughput --rows 1000000``."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict

from rich.console import Console

from bench import report
from bench.contest import CONTESTANTS, Contest
from bench.data import prepare
from bench.limits import find_limits, show_limits
from bench.peers import peers_python
from bench.targets import outcomes
from tasks.errors import ClicklabError, ConfigError

DEFAULT_BITS = 22
TIMEOUT_S = 300
WIDTH = 125


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; return the exit code."""
    options = _parse(arguments)
    return run_command(lambda console: run(options, console))


def run_command(work: Callable[[Console], None]) -> int:
    """Run a command; a known error becomes one line and an exit code."""
    try:
        work(wide_console())
    except ClicklabError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def wide_console() -> Console:
    """Return a console that is wide enough for the tables, on a terminal or in a file."""
    console = Console()
    return console if console.width >= WIDTH else Console(width=WIDTH)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    keys = [contestant.key for contestant in CONTESTANTS]
    parser = argparse.ArgumentParser(prog="python -m bench.throughput", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="simulated rows")
    parser.add_argument("--runs", type=int, default=5, help="measured runs of each contestant")
    parser.add_argument(
        "--bits", type=int, default=DEFAULT_BITS, help="2^bits weights for every contestant"
    )
    parser.add_argument("--only", nargs="+", choices=keys, default=keys, help="skip the others")
    parser.add_argument("--no-save", action="store_true", help="do not write to bench/results")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, console: Console) -> None:
    """Prepare the data, run the contest, print and save the results."""
    if options.runs < 1:
        raise ConfigError(f"runs must be at least 1, got {options.runs}")
    chosen = [contestant for contestant in CONTESTANTS if contestant.key in options.only]
    with console.status("peers' environment"):
        python = peers_python()
    with console.status(f"{options.rows:,} simulated rows"):
        data = prepare(options.rows)
    timeout_s = TIMEOUT_S * max(1.0, options.rows / 1e6)
    contest = Contest(data, bits=options.bits, peers_python=python, timeout_s=timeout_s)
    with console.status("") as status:
        records = contest.run(chosen, options.runs, status.update)
        status.update("phases and lower bounds")
        limits = find_limits(data, bits=options.bits)
    title = (
        f"One pass over {data.n_train:,} rows, {options.bits} bits, median of {options.runs} runs; "
        f"evaluated on the last day, {data.n_test:,} rows"
    )
    report.show_contestants(console, records, title=title)
    found = outcomes(records)
    report.show_outcomes(console, found)
    show_limits(console, limits)
    if not options.no_save:
        content = {
            "n_rows": options.rows, "n_train": data.n_train, "n_test": data.n_test, "bits": options.bits,
            "log_digest": data.meta["log_digest"], "n_bytes": data.meta["n_bytes"],
            "contestants": {key: asdict(record) for key, record in records.items()},
            "targets": [outcome.to_dict() for outcome in found],
            "limits": limits,
        }  # fmt: skip
        path = report.save(f"throughput-{options.rows}", content)
        console.print(f"saved as {path.relative_to(report.ROOT)}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
