"""A long run at a constant rate with periodic model swaps."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from bench.process import ROOT
from bench.serving.contestants import ServerCommand, serve
from bench.serving.load import Call, pace_command
from bench.serving.rounds import FLUSH_S, n_dropped
from bench.serving.servers import Server
from bench.serving.targets import (
    SOAK_DROPPED,
    SOAK_FAILED,
    SOAK_MEMORY,
    SOAK_SWAPS,
    Outcome,
    outcome,
)
from bench.serving.workload import Workload
from tasks.errors import ClicklabError, ConfigError

POLL_S = 1.0
RANK_SHARE = 0.1  # of the requests; the others are /predict, whose latencies are reported
N_SAMPLES = 400  # of memory, over the run
N_POINTS = 180  # of the latencies that are kept
_MARGIN_S = 60


class SoakPlan(NamedTuple):
    """Length, requests per second, and seconds between model swaps."""

    minutes: float
    rate: float
    swap_s: float


class Sample(NamedTuple):
    """Memory of all processes at one time of the run."""

    second: float
    rss_bytes: int
    pss_bytes: int


def check(plan: SoakPlan) -> None:
    """Raise ConfigError if the run is too short for three swaps."""
    if plan.minutes * 60 < 3 * plan.swap_s:
        raise ConfigError(
            f"a soak of {plan.minutes:g} minutes is too short to swap every {plan.swap_s:g} s; "
            "at least three swaps are needed"
        )


def soak(
    command: ServerCommand,
    workload: Workload,
    plan: SoakPlan,
    set_status: Callable[[str], None],
) -> dict[str, Any]:
    """Return latencies and memory over time, swaps, and the count of exposures.

    Raises
    ------
    ClicklabError
        If the load or the server ends early.
    """
    folder = workload.folder / "soak"
    shutil.rmtree(folder, ignore_errors=True)
    exposures = Path(command.environment["CLICKLAB_EXPOSURES"])
    shutil.rmtree(exposures, ignore_errors=True)
    exposures.mkdir(parents=True)
    settings = write_settings(folder, workload.models[0])
    environment = {**command.environment, "CLICKLAB_SERVING": str(settings)}
    with serve(ServerCommand(command.arguments, environment), "ours", workload) as server:
        load, samples, n_swaps = _run(server, workload, folder, plan, set_status)
        time.sleep(FLUSH_S)
        metrics = server.metrics()
        dropped = n_dropped(server)
    n_ok = load["n_requests"] - load["n_failed"]
    n_on_disk = count_lines(exposures)
    return {
        **{key: value for key, value in load.items() if key != "rate"},
        **plan._asdict(),
        "n_swaps": n_swaps,
        "n_swaps_counted": int(metrics.get("ctr_model_swaps_total", 0)),
        "n_refusals": int(metrics.get("ctr_model_refusals_total", 0)),
        "n_dropped": dropped,
        "n_on_disk": n_on_disk,
        "n_lost": max(0, n_ok - n_on_disk),
        "rss_bytes": ends([(s.second, s.rss_bytes) for s in samples], window_s=plan.swap_s),
        "pss_bytes": ends([(s.second, s.pss_bytes) for s in samples], window_s=plan.swap_s),
        "timeline": thinned(load["timeline"]),
        "samples": [sample._asdict() for sample in samples],
    }


def write_settings(folder: Path, model: Path) -> Path:
    """Write settings whose champion is a link that can be swapped; return their path."""
    folder.mkdir(parents=True)
    point_to(folder / "champion", model)
    settings = {
        "models": {"champion": {"from": "folder", "path": str(folder / "champion")}},
        "poll_s": POLL_S,
        "experiment": str(ROOT / "bentos" / "ctr" / "experiment.yaml"),
    }
    path = folder / "serving.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def point_to(link: Path, model: Path) -> None:
    """Point a link to another model atomically."""
    new = link.with_suffix(".new")
    new.symlink_to(model)
    new.replace(link)


def _run(
    server: Server,
    workload: Workload,
    folder: Path,
    plan: SoakPlan,
    set_status: Callable[[str], None],
) -> tuple[dict[str, Any], list[Sample], int]:
    """Run the loads while swapping; return their results, memory samples and the number of swaps."""
    samples: list[Sample] = []
    seconds = plan.minutes * 60
    n_swaps, begin = 0, time.monotonic()
    with ExitStack() as stack:
        loads = [
            stack.enter_context(_Load(server.port, call, plan.rate * share, seconds, folder))
            for call, share in (
                (Call("/predict", workload.impressions), 1 - RANK_SHARE),
                (Call("/rank", workload.rankings), RANK_SHARE),
            )
        ]
        while any(load.is_running for load in loads):
            second = time.monotonic() - begin
            if second > seconds + _MARGIN_S:
                raise ClicklabError(f"bench: the load did not end after {second:.0f} s")
            if second >= (n_swaps + 1) * plan.swap_s and second < seconds - plan.swap_s / 2:
                n_swaps += 1
                point_to(folder / "champion", workload.models[n_swaps % 2])
            samples.append(Sample(second, *_memory(server)))
            set_status(f"{second / 60:.1f} of {plan.minutes:g} minutes, {n_swaps} swaps")
            time.sleep(max(0.5, seconds / N_SAMPLES))
        predict, rank = [load.found() for load in loads]
    sums = {name: predict[name] + rank[name] for name in ("n_requests", "n_failed")}
    rank.pop("timeline")
    return predict | sums | {"rank": rank}, samples, n_swaps


class _Load:
    """A constant rate of one call from its own process, which ends with the block."""

    def __init__(self, port: int, call: Call, rate: float, seconds: float, folder: Path):
        name = call.path.strip("/")
        self._result, self._log = folder / f"{name}.json", folder / f"{name}.log"
        command = pace_command(port, call, rate=rate, seconds=seconds, result=self._result)
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)

    def __enter__(self) -> "_Load":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def is_running(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def found(self) -> dict[str, Any]:
        """Return its results; ClicklabError if it failed."""
        if not self._result.exists():
            last = (self._log.read_text().strip().splitlines() or ["no output"])[-1]
            raise ClicklabError(f"bench: the load failed: {last}")
        found: dict[str, Any] = json.loads(self._result.read_text())
        return found


def _memory(server: Server) -> tuple[int, int]:
    if server.process.poll() is not None:
        raise server.error("the server ended under load")
    memory = server.memory()
    return memory.rss_bytes, memory.pss_bytes


def thinned(
    timeline: Sequence[Mapping[str, float]], *, n_points: int = N_POINTS
) -> list[dict[str, float]]:
    """Return the worst value of each measure in `n_points` stretches of a timeline."""
    step = max(1, -(-len(timeline) // n_points))
    stretches = [timeline[first : first + step] for first in range(0, len(timeline), step)]
    return [
        {name: max(at[name] for at in stretch if name in at) for name in set().union(*stretch)}
        | {"second": stretch[0]["second"]}
        for stretch in stretches
    ]


def ends(line: Sequence[tuple[float, float]], *, window_s: float) -> tuple[float, float]:
    """Return the medians of the window from a tenth of the time on, and of the last window."""
    last = line[-1][0]
    early = [value for second, value in line if last / 10 <= second <= last / 10 + window_s]
    late = [value for second, value in line if second >= last - window_s]
    return float(np.median(early)), float(np.median(late))


def count_lines(folder: Path) -> int:
    """Return the number of exposures in the JSON lines of a folder."""
    n_lines = 0
    for path in sorted(folder.rglob("*.jsonl*")):
        with path.open("rb") as file:
            n_lines += sum(part.count(b"\n") for part in iter(lambda: file.read(1 << 20), b""))
    return n_lines


def soak_outcomes(found: dict[str, Any]) -> list[Outcome]:
    """Return the outcome of each target of a soak."""
    early, late = found["pss_bytes"]
    nan = float("nan")
    values = {
        SOAK_FAILED: found["n_failed"],
        SOAK_DROPPED: nan if found["n_dropped"] is None else found["n_dropped"] + found["n_lost"],
        SOAK_SWAPS: found["n_swaps_counted"] / found["n_swaps"],
        SOAK_MEMORY: late / early,
    }
    return [outcome(target, [value]) for target, value in values.items()]
